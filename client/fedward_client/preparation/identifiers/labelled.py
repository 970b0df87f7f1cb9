"""Numbers and codes that their label makes known: whatever stands after `MRN` is one."""

import re

from fedward_client.preparation.identifiers.patterns import END, START, Pattern
from fedward_client.preparation.identifiers.spans import Kind

VALUE = (
    r"(?P<value>(?=[A-Za-z./-]{0,12}[0-9])[A-Za-z0-9](?:[./-]?[A-Za-z0-9]){2,40}"
    r"(?: [0-9]{2,6}(?![0-9./]| ?[A-Za-z])){0,5})" + END
)
"""With a digit among its first letters. Groups of digits may follow, unless a unit comes after them."""
NUMBER = r"(?:-? ?(?:no|nr|num|number|nummer|id|code)\b\.?|-? ?#|号码?)"
SIGN = r" ?[:#=]"

LABELS: dict[Kind, tuple[str, str]] = {
    Kind.RECORD: (
        r"mrn|medical record|hospital (?:no|number|id)|patient (?:id|no|number)|case (?:no|number|id)|"
        r"visit (?:no|number|id)|encounter (?:no|number|id)|accession|episode (?:no|number|id)|"
        r"pat(?:ienten)?\.?-?(?:nr|nummer|id)|fall-?(?:nr|nummer|id)|aufnahme(?:zahl)?-?(?:nr|nummer)|"
        r"behandlungs-?(?:nr|nummer)|krankenblatt-?nr|"
        r"病历号|病案号|住院号|门诊号|就诊号|登记号|病历编号|检查号|标本号",
        r"chart|record|specimen|fallakte|akte|befund",
    ),
    Kind.INSURANCE: (
        r"member (?:id|no|number)|subscriber (?:id|no|number)|beneficiary (?:id|no|number)|"
        r"policy (?:id|no|number)|medicare|medicaid|health plan|kvnr|versicherten-?(?:nr|nummer)|"
        r"versicherungs-?(?:nr|nummer)|svnr|kassen-?(?:nr|nummer)|ik-nummer|"
        r"医保卡?号|社保卡?号|保险单?号|保单号",
        r"insurance|insured|policy|group|versicherung|krankenkasse|医保卡?",
    ),
    Kind.NATIONAL: (
        r"ssn|social security|nhs (?:no|number)|nino|national insurance|passport(?: no| number)?|"
        r"steuer-?id(?:entifikationsnummer)?|rvnr|sozialversicherungs-?(?:nr|nummer)|"
        r"personalausweis(?:-?(?:nr|nummer))?|reisepass(?:-?(?:nr|nummer))?|ausweis-?(?:nr|nummer)|"
        r"身份证号?码?|护照号?码?|社会保障号码?",
        r"nhs|national id|ausweis|reisepass",
    ),
    Kind.ACCOUNT: (
        r"account (?:no|number|id)|acct|iban|konto-?(?:nr|nummer)|kunden-?(?:nr|nummer)|"
        r"rechnungs-?(?:nr|nummer)|invoice (?:no|number)|card (?:no|number)|银行卡号?|账号|账户|发票号",
        r"account|konto|invoice|bank|bic|rechnung",
    ),
    Kind.LICENCE: (
        r"licen[cs]e (?:no|number|id)|dea|npi|gmc|nmc|upin|lanr|bsnr|efn|"
        r"f[üu]hrerschein(?:-?(?:nr|nummer))?|approbations-?(?:nr|nummer)|arzt-?(?:nr|nummer)|"
        r"certificate (?:no|number)|执业证号?|驾驶证号?|医师资格证号?|证书编号",
        r"licen[cs]e|driver'?s licen[cs]e|certificate|approbation",
    ),
    Kind.VEHICLE: (
        r"licen[cs]e plate|number plate|plate (?:no|number)|vin|(?:kfz-?)?kennzeichen|"
        r"fahrgestell-?(?:nr|nummer)|车牌号?码?|车架号",
        r"vehicle|registration|plate",
    ),
    Kind.DEVICE: (
        r"serial (?:no|number)|s/n|sn|udi|imei|device (?:id|no|number)|"
        r"serien-?(?:nr|nummer)|ger[äa]te-?(?:nr|nummer|id)|implantat-?(?:nr|nummer)|"
        r"序列号|设备(?:编)?号|器械编号|植入物编号",
        r"serial|device|implant|pacemaker|ger[äa]t|implantat|schrittmacher",
    ),
    Kind.ID: (
        r"study (?:id|no|number)|subject (?:id|no|number)|order (?:no|number|id)|"
        r"reference (?:no|number)|ref\.? ?(?:no|nr)|employee (?:id|no|number)|user (?:id|name)|"
        r"auftrags-?(?:nr|nummer)|probanden-?(?:nr|nummer)|personal-?(?:nr|nummer)|"
        r"编号|工号|申请单号|受试者号",
        r"our ref|your ref|id|aktenzeichen|unser zeichen",
    ),
}
"""What may stand before a value by itself, and what needs a word like number, or a colon, between."""


def _rule(kind: Kind, strong: str, weak: str) -> Pattern:
    alone = rf"(?:{strong}){NUMBER}?(?:{SIGN})?(?: is| lautet|为|是)?"
    joined = rf"(?:{weak})(?:{NUMBER}(?:{SIGN})?|{SIGN})"
    regex = rf"{START}(?i:{alone}|{joined})\.?\s{{0,3}}{VALUE}"
    return Pattern(kind, f"{kind} label", re.compile(regex))


LABELLED = (
    *(_rule(kind, *labels) for kind, labels in LABELS.items()),
    Pattern(
        Kind.ID,
        "any number",
        re.compile(
            rf"{START}(?:[A-Za-zÄÖÜäöüß]{{2,25}}-?(?:[Nn]r\b\.?|[Nn]ummer\b)|[A-Za-z]{{3,20}} (?:[Nn]o\b\.?|[Nn]umber\b|ID\b))"
            rf"(?: is)? ?[:#]? ?{VALUE}"
        ),
    ),
)
