"""Diagnosis coding: the leaf descriptions of ICD-10-CM, each labelled with its chapter.

Sibling leaves ("initial encounter", "subsequent encounter") say nearly the same. So that they
cannot leak from training into the test, a three-character category lies on one side as a whole.
"""

from collections import Counter
from functools import cache
from typing import NamedTuple

import numpy as np

from fedward_shared.errors import MissingExtra

TEST_RECORDS = 4_000
TUNING_RECORDS = 2_700


class Record(NamedTuple):
    """A diagnosis: what it says, the title of its chapter and its code."""

    text: str
    label: str
    code: str

    @property
    def category(self) -> str:
        """The three characters that its code begins with."""
        return self.code[:3]


class IcdSplit(NamedTuple):
    """The three sides, each in the order of the codes, and every chapter title in its order."""

    train: list[Record]
    tuning: list[Record]
    test: list[Record]
    labels: list[str]


def load(seed: int) -> IcdSplit:
    """The split that `seed` draws: 4,000 records to test, 2,700 for tuning, 68,024 to train on.

    Every chapter has its share of both held-out sides; only "Codes for special purposes", two
    categories, is left to training. Raises MissingExtra without `simple-icd-10-cm`.
    """
    records, labels = _records()
    generator = np.random.default_rng(seed)
    test = _draw(records, TEST_RECORDS, generator, set())
    tuning = _draw(records, TUNING_RECORDS, generator, test)
    held_out = test | tuning
    return IcdSplit(
        train=[record for record in records if record.category not in held_out],
        tuning=[record for record in records if record.category in tuning],
        test=[record for record in records if record.category in test],
        labels=labels,
    )


@cache
def _records() -> tuple[list[Record], list[str]]:
    """All diagnoses in the order of the book, and the chapter titles."""
    try:
        import simple_icd_10_cm as icd
    except ImportError as error:
        raise MissingExtra(
            "ICD-10-CM is not installed: pip install 'fedward-simulations[data]'"
        ) from error
    codes: list[str] = icd.get_all_codes()
    # A description ends in its range of codes: "Neoplasms (C00-D49)".
    titles = {
        code: str(icd.get_description(code)).rpartition(" (")[0]
        for code in codes
        if icd.is_chapter(code)
    }
    # A dozen leaves are empty headings ("C00-C96"); a diagnosis has a category of three characters.
    records = [
        Record(str(icd.get_description(code)), titles[icd.get_ancestors(code)[-1]], code)
        for code in codes
        if icd.is_leaf(code) and "-" not in code
    ]
    return records, list(titles.values())


def _draw(
    records: list[Record], size: int, generator: np.random.Generator, taken: set[str]
) -> set[str]:
    """Whole categories, none of them `taken`, that hold exactly `size` records, by chapter.

    A chapter's share is filled with its categories in random order, each if it still fits. What
    the shares leave open is filled in the same way from all chapters; the many categories of a
    single record make it exact. A chapter with fewer categories than there are sides gives none.
    """
    sizes = Counter(record.category for record in records)
    chapters: dict[str, list[str]] = {}
    for label, category in dict.fromkeys((record.label, record.category) for record in records):
        chapters.setdefault(label, []).append(category)
    divisible = [categories for categories in chapters.values() if len(categories) >= 3]

    drawn: set[str] = set()

    def fill(categories: list[str], room: int) -> int:
        for index in generator.permutation(len(categories)):
            category = categories[index]
            if category not in taken and category not in drawn and sizes[category] <= room:
                drawn.add(category)
                room -= sizes[category]
        return room

    room = size
    for categories in divisible:
        share = size * sum(sizes[category] for category in categories) // len(records)
        room -= share - fill(categories, share)
    if fill([category for categories in divisible for category in categories], room):
        raise ValueError(f"no whole categories hold exactly {size} records")
    return drawn
