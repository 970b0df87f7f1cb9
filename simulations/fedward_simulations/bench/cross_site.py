"""Near-duplicates between four hospitals: what k bands of 16 in common find, and at what price.

Texts of `dedup_texts`, of which a fifth are near-copies, are dealt to the hospitals at random, so that
most copies lie with another one than their original. A document is alike another hospital's if the
Jaccard similarity of their shingles, counted over all pairs by other code, is 0.85 or more; it is found
if k of its bands are among all of that hospital's. Nobody compares shingles, so what is found need not
be alike: it is counted how much of it is below 0.85, and how much below 0.7.
"""

from collections.abc import Iterator
from pathlib import Path

from fedward_shared.text import BANDS
from fedward_shared.text.duplicates import THRESHOLD
from fedward_simulations.bench.dedup_texts import corpora, planted
from fedward_simulations.bench.rows import Row
from fedward_simulations.scenarios.duplicates import Dealt

HOSPITALS = 4
DOCUMENTS = 1000
"""Of a corpus, over all hospitals, before copies of a quarter are put among them."""
LOOSELY = 0.7
LEAST = (1, 2, 3, 4, 8)


def run(folder: Path) -> list[Row]:
    """Rows for each corpus."""
    del folder
    rows: list[Row] = []
    for number, (name, texts) in enumerate(corpora().items()):
        dealt = Dealt.at_random(planted(texts[:DOCUMENTS], number), HOSPITALS, number)
        rows += _rows(f"{name}, {len(dealt.texts):,}", dealt)
    return rows


def _rows(about: str, dealt: Dealt) -> Iterator[Row]:
    terms, outcome = dealt.compared(1, 0)
    strictly, loosely = dealt.true(THRESHOLD), dealt.true(LOOSELY)
    for least in LEAST:
        found = dealt.found(outcome, least)
        which = f"{about}, {least} of {BANDS} bands"
        missed = 100 * len(strictly - found) / max(1, len(strictly))
        yield Row(
            f"{which}: of {len(strictly)} alike from {THRESHOLD} on, missed", missed, unit="%"
        )
        for threshold, true in ((THRESHOLD, strictly), (LOOSELY, loosely)):
            wrong = 100 * len(found - true) / max(1, len(found))
            yield Row(f"{which}: of {len(found)} found, below {threshold}", wrong, unit="%")
    shown = sum(terms.shown(len(own)) for own in dealt.held.values()) * (HOSPITALS - 1)
    seconds, sent = sum(outcome.seconds.values()), outcome.sent.total()
    yield Row(
        f"{about}: a document that is shown to a peer", 1e3 * seconds / shown, unit="ms of CPU"
    )
    yield Row(f"{about}: the same, sent", sent / shown, unit="bytes")
