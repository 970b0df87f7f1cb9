"""How alike documents are: of those of a batch, and of those that lie on disk."""

from dataclasses import dataclass

import numpy as np

from fedward_shared.text.signatures import Sketches


@dataclass(frozen=True)
class Sets:
    """The shingles of documents by number: those of `batch` from `first` on, those before from disk."""

    batch: Sketches
    first: int
    shingles: np.ndarray
    documents: np.ndarray

    def of(self, number: int) -> np.ndarray:
        """The shingles of a document (uint32), each once and in order."""
        if number >= self.first:
            row = number - self.first
            return self.batch.shingles_S[self.batch.starts[row] : self.batch.starts[row + 1]]
        start, size = int(self.documents["start"][number]), int(self.documents["size"][number])
        return self.shingles[start : start + size]

    def similarity(self, one: int, other: int) -> float:
        """The Jaccard similarity of two documents."""
        return jaccard(self.of(one), self.of(other))


def jaccard(one_S: np.ndarray, other_S: np.ndarray) -> float:
    """|A ∩ B| / |A ∪ B| of sets that are given in order and are not empty."""
    places = np.searchsorted(other_S, one_S)
    common = int((other_S[np.minimum(places, len(other_S) - 1)] == one_S).sum())
    return common / (len(one_S) + len(other_S) - common)


def similarities(sets: Sets, one_P: np.ndarray, other_P: np.ndarray) -> np.ndarray:
    """The Jaccard similarity of each of P pairs of documents, [P]."""
    return np.array(
        [sets.similarity(int(one), int(other)) for one, other in zip(one_P, other_P, strict=True)],
        np.float64,
    )
