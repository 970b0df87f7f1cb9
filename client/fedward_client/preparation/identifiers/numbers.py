"""Numbers that are known by their form or check digit, and any that are too long for a measurement."""

import re

from fedward_client.preparation.identifiers import checks
from fedward_client.preparation.identifiers.patterns import END, Pattern, pattern
from fedward_client.preparation.identifiers.spans import Kind

CODES = re.compile(r"(?i:snomed|sctid|loinc|rxnorm|rxcui|\bndc|gtin|pzn|\bean\b|\batc\b|pmid|doi)")
"""What stands before a long number that is a code of medicine, and nobody's."""
BEFORE = 24
TRIALS = ("NCT", "GSE", "PMC", "PMID", "ISRCTN")
PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"


def _is_no_code(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - BEFORE) : match.start()]
    return CODES.search(before) is None and not match[0].startswith(TRIALS)


_IBAN = r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?"

NUMBERS = (
    pattern(Kind.NATIONAL, "US SSN", r"[0-9]{3}([- ])[0-9]{2}\1[0-9]{4}", checks.ssn),
    pattern(Kind.NATIONAL, "NHS number", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", checks.nhs),
    pattern(Kind.NATIONAL, "UK NINO", r"[A-CEGHJ-PR-TW-Z]{2} ?(?:[0-9]{2} ?){3}[A-D]"),
    pattern(Kind.INSURANCE, "KVNR", r"[A-Z] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", checks.kvnr),
    pattern(Kind.NATIONAL, "RVNR", r"[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{2} ?[0-9]", checks.rvnr),
    pattern(Kind.NATIONAL, "Steuer-ID", r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", checks.tax_id),
    pattern(Kind.NATIONAL, "AHV", r"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", checks.ahv),
    pattern(
        Kind.INSURANCE,
        "SVNR",
        r"[1-9][0-9]{3}[ -]?(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2}",
        checks.svnr,
    ),
    pattern(
        Kind.NATIONAL,
        "Chinese resident id",
        r"[1-8][0-9]{5} ?(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]) ?[0-9]{3}[0-9Xx]",
        checks.resident,
    ),
    pattern(Kind.ACCOUNT, "IBAN", _IBAN, checks.iban),
    pattern(Kind.ACCOUNT, "payment card", r"[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}", checks.luhn),
    pattern(Kind.VEHICLE, "VIN", r"[A-HJ-NPR-Z0-9]{17}", checks.vin),
    pattern(
        Kind.VEHICLE,
        "Chinese plate",
        rf"[{PROVINCES}][A-HJ-NP-Z][·. ]?(?=[A-Z]{{0,5}}[0-9])[A-Z0-9]{{5,6}}",
    ),
    pattern(Kind.VEHICLE, "German plate", r"[A-ZÄÖÜ]{1,3}-[A-Z]{1,2} ?[1-9][0-9]{2,3}[EH]?"),
    pattern(Kind.ID, "UUID", r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    pattern(Kind.ID, "OID", r"[0-2](?:\.[0-9]{1,40}){6,30}"),
)

LEFTOVER = (
    Pattern(
        Kind.ID,
        "long number",
        re.compile(rf"(?<![0-9A-Za-z.,])[0-9](?:-?[0-9]){{8,60}}(?![0-9]){END}"),
        _is_no_code,
    ),
    Pattern(
        Kind.ID,
        "letters and digits",
        re.compile(
            rf"(?<![0-9A-Za-z.,-])(?:[A-Z]{{1,4}}[0-9]{{6,30}}|[A-Z]{{2,4}}-[0-9]{{5,30}})[A-Z0-9]{{0,3}}{END}"
        ),
        _is_no_code,
    ),
)
"""Tried last: what is a number of another kind as well is called that."""
