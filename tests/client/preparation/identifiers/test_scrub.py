"""Texts without their identifiers: what is found, what stays, and in which time."""

import re
import time
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation.identifiers import ages, chinese_names, dates, known, names, scrub
from fedward_client.preparation.identifiers.pseudonyms import Person
from fedward_client.preparation.identifiers.spans import Kind

parser = import_module("re._parser")

CLINICAL = [
    "Parkinson's disease, Crohn's disease, Morbus Basedow, Raynaud-Syndrom, Babinski sign negative",
    "metformin 1000 mg BID, apixaban 5 mg, Ramipril 5 mg 1-0-1",
    "BP 120/80 mmHg, HR 72, SpO2 98%, K 4.2, GCS 15/15, 12000 Leukozyten, EF 45 %",
    "ICD-10 E11.9, C50.411; LOINC 4548-4; SNOMED CT 235856003; T2N0M0; HER2 2+",
    "患者无高热，无黄疸，白细胞12.3×10^9/L，血压150/90mmHg",
    "a 54-year-old woman; in 2019 six cycles of ABVD",
]
ENDLESS = [
    "a", "A", "1", "Aa ", "1 ", "a.", "1.", "1-", "a@", "Aa, ", "路", "张", "Dr. ", "A.", "tel: 1",
    "0(", "a:", "1 Street ", "1\n", "+1", "市区", "address: aaa", "12345 Aa ", "wife Aa", "Aa-",
    "http://", "1年", "call ",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Dr. Graves saw John Doe.", "Dr. [NAME] saw [NAME]."),
        ("Herr Vogt kam am 3.4. allein.", "Herr [NAME] kam am [DATE] allein."),
        ("患者姓名：张伟，男，93岁", "患者姓名：[NAME]，男，[AGE]岁"),
        ("SSN 219-09-9999, NHS 943 476 5919", "SSN [NATIONAL], NHS [NATIONAL]"),
        ("Fax: 030 1234567; mail jo@x.org", "Fax: [FAX]; mail [EMAIL]"),
        ("MRN: 0012345, VIN 1M8GDM9AXKP042788", "MRN: [RECORD], VIN [VEHICLE]"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [ACCOUNT]"),
        ("１３８１２３４５６７８ anrufen", "[PHONE] anrufen"),
        (
            "Mr Okonkwo left. At night Okonkwo came back.",
            "Mr [NAME] left. At night [NAME] came back.",
        ),
        ("aged 89, then aged 90", "aged 89, then aged [AGE]"),
    ],
)
def test_a_tag_for_each_kind(text: str, scrubbed: str) -> None:
    assert scrub.scrub(text).text == scrubbed


@pytest.mark.parametrize("text", CLINICAL)
def test_clinical_text_stays(text: str) -> None:
    assert scrub.scrub(text).text == text


def test_of_a_known_person_the_pseudonym_and_moved_dates() -> None:
    person = Person("AAAA", 10)
    text = "Zélie Okafor came on 2021-03-09 and left in April 2021; Dr. Vogt signed."
    who = known.of(["Okafor^Zélie"])
    assert scrub.scrub(text, who, person).text == (
        "[AAAA] came on 2021-03-19 and left in [DATE]; Dr. [NAME] signed."
    )


@given(st.text("Dr. AaMüller张伟医生,\n0123456789/-.:@年月日", max_size=80))
def test_the_rest_of_the_text_is_as_it_was(text: str) -> None:
    result = scrub.scrub(text)
    at, rest = 0, result.text
    for span in result.found:
        kept = text[at : span.start] + span.kind.tag
        assert rest.startswith(kept)
        rest, at = rest[len(kept) :], span.end
    assert rest == text[at:]


def _regexes() -> dict[str, re.Pattern[str]]:
    found = {pattern.name: pattern.regex for pattern in scrub.PATTERNS}
    found |= dict(dates.FULL) | dict(dates.PARTIAL) | names._RULES | chinese_names.RULES
    return found | {
        "ages": ages.AGES,
        "born": ages.BORN,
        "listed": names._LISTED,
        "words": names.WORDS,
    }


@pytest.mark.parametrize(("name", "regex"), _regexes().items(), ids=list(_regexes()))
def test_no_repetition_is_without_a_bound(name: str, regex: re.Pattern[str]) -> None:
    def bounds(parsed: object) -> list[int]:
        found: list[int] = []
        for item in parsed if isinstance(parsed, (list, tuple, parser.SubPattern)) else ():
            if isinstance(item, tuple) and len(item) == 2 and str(item[0]).endswith("REPEAT"):
                found.append(int(item[1][1]))
            found += bounds(item)
        return found

    assert max(bounds(parser.parse(regex.pattern, regex.flags)), default=0) <= 2000, name


@pytest.mark.parametrize("piece", ENDLESS)
def test_twice_the_text_takes_twice_the_time(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        started = time.process_time()
        scrub.find(text)
        return time.process_time() - started

    # 16 if it were quadratic, 4 where it is linear; tried again where the machine was busy
    assert any(seconds(12_000) / seconds(3_000) < 8 for _ in range(3))


def test_a_megabyte_is_scrubbed() -> None:
    text = "Seen by Dr. Vogt on 2021-03-09, BP 120/80. " * 24_000
    assert scrub.find(text)[-1].kind is Kind.DATE
