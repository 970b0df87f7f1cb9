"""Near-duplicates among a site's documents: left out within a privacy unit, reported across units.

**Alike** are two documents whose shingles have a Jaccard similarity of the threshold or more.
Candidates come from bands of MinHash (`signatures.py`, which states how many pairs they miss). Every one
of them is compared by its shingles, as 32-bit hashes: nothing is called alike that is not.

**Within a unit** documents are taken in their order. One that is like a document of its unit that stays
is left out: the first stays, and each that goes has one like it that stays. This is a function of the
unit's own documents. It changes nothing in who is neighbour to whom, and costs no privacy.

**Across units** leaving out would let one person's record decide whether another's is trained on, and
the account would still count as if each moved their own records alone. So documents are reported only,
unless `Terms.suppresses` is B > 0. Then a document is left out if in one of the first B bands it is like
the document right before it in its bucket, among all that stay within their units. With or without one
document, only what comes right after it in its B buckets has another one before it:
**a unit of which m documents stay within it decides the presence of at most B · m documents of others**.
A change in another unit is that unit gone and come back, so for a person the study's ε holds only as
that of a group of 1 + 2 · B · m. No accountant of ours knows of it: whoever sets B answers for it
(docs/decisions/0024-near-duplicates-across-units.md).

Who was left out for whom, and every report, is of the site's records, and stays there.

The order of documents decides who stays. The same documents in the same order under the same terms have
the same result, byte for byte, in however many calls and on however many processes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from fedward_shared.errors import DataError, StateError, UsageError
from fedward_shared.records import normalised
from fedward_shared.text.jaccard import Sets, similarities
from fedward_shared.text.shelf import DOCUMENT, LINK, Shelf
from fedward_shared.text.shingles import CHARACTERS, WORDS
from fedward_shared.text.signatures import BANDS, ROWS, Sketches, mixed, sketches
from fedward_shared.text.workers import Work

THRESHOLD = 0.85
BATCH = 16
"""Pieces of sketches that are compared, and made to count, at once."""

MOST = 2**32 - 1
"""Documents of an index: they are numbered in 32 bits."""


@dataclass(frozen=True)
class Terms:
    """Under what documents are compared; an index keeps to those that it was begun with.

    `threshold` is the Jaccard similarity from which on two are alike, at most 1; the bands are chosen
    for 0.85 and miss more below it. `seed` draws the permutations. `suppresses` is how many documents
    of other units one document may suppress: from 0, they are only reported, to `BANDS`.
    Raises UsageError for others.
    """

    threshold: float = THRESHOLD
    seed: int = 1
    suppresses: int = 0

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold <= 1:
            raise UsageError(
                f"threshold {self.threshold}: the bands find from 0.5 on, and 1 is equal"
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed {self.seed}: not between 0 and 2^32 - 1")
        if not 0 <= self.suppresses <= BANDS:
            raise UsageError(f"suppresses {self.suppresses}: not between 0 and {BANDS}")


class Report(NamedTuple):
    """How many documents there are, stay, were left out within their units and across units, and how
    many of those that stay within their units are like an earlier one of another unit."""

    documents: int
    stay: int
    within: int
    across: int
    alike: int


class Index:
    """The documents that were compared so far, in a folder, numbered from 0 on in the order given.

    Memory is that of a batch, and of one band of keys while two runs become one. The rest is mapped from
    disk, where a document that stays within its unit has 288 bytes, and 4 for each of its shingles. A
    process that is killed leaves the batches that it finished: the next goes on with document
    `len(index)`.
    Raises StateError if the folder was begun under other terms, is damaged, or is in use.
    """

    def __init__(self, folder: Path, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        kept = {"words": WORDS, "characters": CHARACTERS, "bands": BANDS, "rows": ROWS}
        self._folder = folder
        self._shelf = Shelf(folder, {**asdict(self.terms), **kept})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process have the folder."""
        self._shelf.close()

    def __len__(self) -> int:
        return self._shelf.count("documents")

    def add(self, texts: Iterable[str], units: Iterable[str], work: Work = map) -> None:
        """Compares `texts` with each other and with all before; `units` says whose each is.

        `work` computes the sketches. Raises DataError if there are more of one than of the other; whole
        batches before that count all the same.
        """
        self.add_sketches(_matched(sketches(texts, self.terms.seed, work), iter(units)))

    def add_sketches(self, parts: Iterable[tuple[Sketches, Sequence[str]]]) -> None:
        """As `add`, of texts that were sketched elsewhere under the same seed, with whose each is.

        Raises StateError if the disk is full; the index is then to be closed, and can be opened again.
        """
        waiting = iter(parts)
        while batch := list(islice(waiting, BATCH)):
            joined = Sketches.joined([part for part, _ in batch])
            try:
                self._add(joined, _digests([unit for _, units in batch for unit in units]))
            except OSError as error:
                raise StateError(
                    f"{self._folder}: cannot be written: {error.strerror}; {len(self)} documents count"
                ) from error

    def instead(self) -> np.ndarray:
        """For each document its own number if it stays, else that of the one it was left out for, [N].

        That one stays within its unit; where `suppresses` is above 0, another unit's may stand for it.
        """
        return self._shelf.table("documents")["instead"].astype(np.int64)

    def links(self) -> np.ndarray:
        """Documents of different units that are alike, `LINK`s in the order of the later one.

        Of a document, those right before it in one of its buckets: at most `BANDS`, by which a cluster
        hangs together, and not every pair of the cluster.
        """
        return np.array(self._shelf.table("links"))

    def report(self) -> Report:
        """Counts over all documents."""
        documents, instead = self._shelf.table("documents"), self.instead()
        gone = np.flatnonzero(instead != np.arange(len(instead)))
        same = (documents["unit"][gone] == documents["unit"][instead[gone]]).all(axis=1)
        alike = len(np.unique(self._shelf.table("links")["later"]))
        within = int(same.sum())
        return Report(len(instead), len(instead) - len(gone), within, len(gone) - within, alike)

    def _add(self, batch: Sketches, units_D2: np.ndarray) -> None:
        first, count = len(self), len(batch)
        if first + count > MOST:
            raise DataError(f"more than {MOST} documents")
        sets = Sets(batch, first, self._shelf.table("shingles"), self._shelf.table("documents"))
        numbers_D = np.arange(first, first + count)
        salted_DB = mixed(batch.keys_DB ^ units_D2[:, :1])
        within_DB = _short(salted_DB)
        instead_D = self._within(sets, within_DB, units_D2)
        kept = np.flatnonzero(instead_D == numbers_D)
        across_DB = _short(batch.keys_DB[kept])
        links, suppressed, by = self._across(sets, across_DB, numbers_D[kept])
        self._shelf.within.append(within_DB[kept], numbers_D[kept])
        self._shelf.across.append(across_DB, numbers_D[kept])
        instead_D[suppressed - first] = by

        documents = np.zeros(count, DOCUMENT)
        sizes_D = np.zeros(count, np.int64)
        sizes_D[kept] = np.diff(batch.starts)[kept]
        documents["unit"] = units_D2
        documents["size"] = sizes_D
        documents["start"] = self._shelf.count("shingles") + np.cumsum(sizes_D) - sizes_D
        documents["instead"] = instead_D
        shingles = batch.shingles_S[np.repeat(sizes_D > 0, np.diff(batch.starts))]
        self._shelf.commit({"documents": documents, "shingles": shingles, "links": links})

    def _within(self, sets: Sets, keys_DB: np.ndarray, units_D2: np.ndarray) -> np.ndarray:
        """Each document's own number, or that of the first of its unit that stays and is like it."""
        first = sets.first
        instead_D = np.arange(first, first + len(keys_DB))
        rows, earlier = self._shelf.within.sharing(keys_DB)
        same = (self._shelf.table("documents")["unit"][earlier] == units_D2[rows]).all(axis=1)
        rows, earlier = rows[same], earlier[same]
        before_DB = _before(keys_DB)
        for row in np.flatnonzero(
            (before_DB >= 0).any(axis=1) | np.isin(np.arange(len(keys_DB)), rows)
        ):
            places = slice(*np.searchsorted(rows, [row, row + 1]))
            candidates = [
                *earlier[places].tolist(),
                *_staying(before_DB, instead_D, first, int(row)),
            ]
            for candidate in candidates:
                mine = candidate < first or (units_D2[candidate - first] == units_D2[row]).all()
                if mine and sets.similarity(candidate, first + int(row)) >= self.terms.threshold:
                    instead_D[row] = candidate
                    break
        return instead_D

    def _across(
        self, sets: Sets, keys_KB: np.ndarray, numbers_K: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Links of documents that stay within their units; which are left out, and for whom."""
        before_KB = _before(keys_KB)
        before_KB = np.where(
            before_KB >= 0, numbers_K[before_KB], self._shelf.across.latest(keys_KB)
        )
        rows, bands = np.nonzero(before_KB >= 0)
        earlier = before_KB[rows, bands]
        pairs, place = np.unique((numbers_K[rows] << 32) | earlier, return_inverse=True)
        later_P, earlier_P = pairs >> 32, pairs & (2**32 - 1)
        similarity_P = similarities(sets, later_P, earlier_P)
        alike_P = similarity_P >= self.terms.threshold
        links = np.empty(int(alike_P.sum()), LINK)
        links["later"], links["earlier"] = later_P[alike_P], earlier_P[alike_P]
        links["similarity"] = similarity_P[alike_P]
        suppressing = np.unique(place[alike_P[place] & (bands < self.terms.suppresses)])
        suppressed, one = np.unique(later_P[suppressing], return_index=True)
        return links, suppressed, earlier_P[suppressing][one]


def _matched(
    parts: Iterable[Sketches], units: Iterator[str]
) -> Iterator[tuple[Sketches, list[str]]]:
    count = 0
    for part in parts:
        theirs = list(islice(units, len(part)))
        count += len(theirs)
        if len(theirs) < len(part):
            raise DataError(f"there are {count} units, and more texts")
        yield part, theirs
    if next(units, None) is not None:
        raise DataError(f"there are {count} texts, and more units")


def _digests(units: list[str]) -> np.ndarray:
    """128 bits of each unit's name, which is compared as an owner of records is, uint64, [D, 2]."""
    names = (normalised(unit).encode("utf-8", "surrogatepass") for unit in units)
    digests = b"".join(sha256(name).digest()[:16] for name in names)
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def _short(keys_DB: np.ndarray) -> np.ndarray:
    """Half of a key: two that meet by chance are compared, and found not to be alike."""
    return (keys_DB >> np.uint64(32)).astype(np.uint32)


def _before(keys_DB: np.ndarray) -> np.ndarray:
    """For each key the row right before that has it in the same band, -1 where none has: [D, B]."""
    before_DB = np.full(keys_DB.shape, -1, np.int64)
    for band, keys_D in enumerate(keys_DB.T):
        order_D = np.argsort(keys_D, kind="stable")
        same = np.flatnonzero(keys_D[order_D[1:]] == keys_D[order_D[:-1]])
        before_DB[order_D[same + 1], band] = order_D[same]
    return before_DB


def _staying(before_DB: np.ndarray, instead_D: np.ndarray, first: int, row: int) -> Iterator[int]:
    """Numbers of the rows before `row` in its buckets that stay, the first first.

    A row's place in `before_DB` is moved on to one that stays, so that a bucket of thousands that were
    left out is passed in one step.
    """
    found: set[int] = set()
    for band in np.flatnonzero(before_DB[row] >= 0):
        before = before_DB[row, band]
        if instead_D[before] != first + before:
            before = before_DB[row, band] = before_DB[before, band]
        while before >= 0:  # one that another band has led to may have others before it in this one
            found.add(int(first + before))
            before = before_DB[before, band]
    return iter(sorted(found))
