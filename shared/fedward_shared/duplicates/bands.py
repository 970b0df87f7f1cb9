"""Documents as the keys of their MinHash bands, of which each is once in what is compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedward_shared.psi.alignment import Rows
from fedward_shared.text import BANDS
from fedward_shared.text.signatures import sketches
from fedward_shared.text.workers import Work

KEY_BYTES = 8


@dataclass(frozen=True)
class Bands:
    """Of D documents, `numbers_D` of all those that were given: `elements` are their keys, each once,
    and `element_DB` says which of them a band of a document has."""

    numbers_D: np.ndarray
    elements: list[bytes]
    element_DB: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str], seed: int, shortest: int = 1, work: Work = map) -> "Bands":
        """Of those `texts` that have `shortest` shingles or more. Raises MissingExtra."""
        parts = list(sketches(texts, seed, work))
        sizes_D = np.concatenate([np.diff(part.starts) for part in parts] or [np.zeros(0, int)])
        numbers_D = np.flatnonzero(sizes_D >= shortest)
        keys_DB = np.concatenate([part.keys_DB for part in parts] or [np.zeros((0, BANDS), "u8")])
        elements: list[bytes] = []
        element_DB = np.empty((len(numbers_D), BANDS), np.int64)
        for band, keys_D in enumerate(keys_DB[numbers_D].T):
            keys_K, place_D = np.unique(keys_D, return_inverse=True)
            element_DB[:, band] = len(elements) + place_D
            found = keys_K.astype("<u8").tobytes()
            elements += [
                band.to_bytes() + found[at : at + KEY_BYTES]
                for at in range(0, len(found), KEY_BYTES)
            ]
        return cls(numbers_D, elements, element_DB)

    def shared(self, rows: Rows) -> np.ndarray:
        """How many bands of each document are among the elements `rows`, [D]."""
        common_E = np.zeros(len(self.elements), bool)
        common_E[rows] = True
        counts_D: np.ndarray = common_E[self.element_DB].sum(axis=1)
        return counts_D

    def __len__(self) -> int:
        return len(self.numbers_D)
