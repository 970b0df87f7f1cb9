"""Keys of documents on disk, sorted, in runs that double (a log-structured merge tree, O'Neil 1996).

A run is a file of uint32 that is written once: `[B, 2, N]`, for each of B bands the keys of N documents
in order, and whose each is. Equal keys are in the order of the documents. What is asked is mapped into
memory and searched; at most two bands of a run are in memory of its own, while two runs are merged.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

DOUBLING = 2


class Runs:
    """The runs of one kind in a folder: those in `names`, which the caller keeps."""

    def __init__(self, folder: Path, kind: str, bands: int, names: list[str]) -> None:
        self.names = names
        self._folder = folder
        self._kind = kind
        self._bands = bands

    def append(self, keys_DB: np.ndarray, documents_D: np.ndarray) -> None:
        """Adds D documents, later than all before, and their keys (uint32)."""
        if not len(documents_D):
            return
        order_DB = np.argsort(keys_DB, axis=0, kind="stable")
        sorted_DB = np.take_along_axis(keys_DB, order_DB, 0)
        self._write(
            int(documents_D[0]),
            len(documents_D),
            zip(sorted_DB.T, documents_D[order_DB].T, strict=True),
        )
        while len(self.names) > 1 and _size(self.names[-2]) < DOUBLING * _size(self.names[-1]):
            newer, older = self._open(self.names.pop()), self._open(name := self.names.pop())
            self._write(
                int(name.split("-")[1]), older.shape[2] + newer.shape[2], _merged(older, newer)
            )

    def latest(self, keys_DB: np.ndarray) -> np.ndarray:
        """For each key (uint32) the last document that has it in its band, or -1: [D, B]."""
        found_DB = np.full(keys_DB.shape, -1, np.int64)
        for run in map(self._open, self.names):
            for band, (keys_N, documents_N) in enumerate(run):
                places_D = np.searchsorted(keys_N, keys_DB[:, band], "right") - 1
                hits = np.flatnonzero(keys_N[places_D] == keys_DB[:, band])
                hits = hits[places_D[hits] >= 0]
                found_DB[hits, band] = documents_N[places_D[hits]]
        return found_DB

    def sharing(self, keys_DB: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All documents that share a key: row of `keys_DB` and document, each pair once and in order."""
        pairs = [np.empty(0, np.uint64)]
        for run in map(self._open, self.names):
            for band, (keys_N, documents_N) in enumerate(run):
                first_D = np.searchsorted(keys_N, keys_DB[:, band], "left")
                counts_D = np.searchsorted(keys_N, keys_DB[:, band], "right") - first_D
                rows = np.repeat(np.arange(len(keys_DB), dtype=np.uint64), counts_D)
                within = np.arange(len(rows)) - np.repeat(np.cumsum(counts_D) - counts_D, counts_D)
                places = np.repeat(first_D, counts_D) + within
                pairs.append((rows << np.uint64(32)) | documents_N[places])
        both = np.unique(np.concatenate(pairs))
        return (both >> np.uint64(32)).astype(np.int64), both.astype(np.uint32).astype(np.int64)

    def _open(self, name: str) -> np.ndarray:
        shape = (self._bands, 2, _size(name))
        return np.memmap(self._folder / name, np.uint32, "r", shape=shape).view(np.ndarray)

    def _write(self, first: int, size: int, bands: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
        name = f"{self._kind}-{first}-{size}"
        with (self._folder / name).open("wb") as file:
            for keys_N, documents_N in bands:
                file.write(keys_N.astype(np.uint32).tobytes())
                file.write(documents_N.astype(np.uint32).tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.names.append(name)


def _size(name: str) -> int:
    return int(name.split("-")[2])


def _merged(older: np.ndarray, newer: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for pair in zip(older, newer, strict=True):
        keys_N, documents_N = np.concatenate(pair, axis=1)
        order_N = np.argsort(keys_N, kind="stable")
        yield keys_N[order_N], documents_N[order_N]
