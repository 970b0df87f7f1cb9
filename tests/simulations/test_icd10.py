"""The ICD-10-CM split: whole categories, every chapter, the same bytes for the same seed."""

from collections import Counter

import pytest

from fedward_simulations.data import icd10

SPECIAL = "Codes for special purposes"


@pytest.fixture(scope="module", params=[0, 7])
def split(request: pytest.FixtureRequest) -> icd10.IcdSplit:
    return icd10.load(int(request.param))


def test_sizes(split: icd10.IcdSplit) -> None:
    assert (len(split.test), len(split.tuning), len(split.train)) == (4_000, 2_700, 68_024)


def test_a_category_lies_on_one_side(split: icd10.IcdSplit) -> None:
    sides = [{record.category for record in side} for side in split[:3]]
    assert sum(map(len, sides)) == len(set().union(*sides))


def test_every_chapter_has_its_share_on_every_side(split: icd10.IcdSplit) -> None:
    train, tuning, test = (Counter(record.label for record in side) for side in split[:3])
    assert len(split.labels) == 22
    assert set(train) == set(split.labels)
    assert set(tuning) == set(test) == set(split.labels) - {SPECIAL}
    for label in test:
        whole = train[label] + tuning[label] + test[label]
        assert test[label] / whole == pytest.approx(4_000 / 74_724, rel=0.3)


def test_records_are_diagnoses(split: icd10.IcdSplit) -> None:
    cholera = "Cholera due to Vibrio cholerae 01, biovar cholerae"
    chapter = "Certain infectious and parasitic diseases"
    assert icd10.Record(cholera, chapter, "A00.0") in split.train + split.tuning + split.test


def test_the_seed_decides() -> None:
    assert icd10.load(3) == icd10.load(3)
    assert icd10.load(3).test != icd10.load(4).test
