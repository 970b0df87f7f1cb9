"""The rows of each step for one worker, and those that no step sees."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedward_server.pretraining.corpus.feeding import PATIENCE, Feeder
from fedward_server.pretraining.corpus.objectives import Batch, Objective
from fedward_server.pretraining.corpus.packing import Rows, packed
from fedward_server.pretraining.corpus.store import Piece, Store
from fedward_server.pretraining.corpus.stream import Row, Stream, permuted
from fedward_shared.errors import UsageError

HELD_OUT = 64
"""Rows of each source that no step sees; of a small source a tenth."""


class Data:
    """A corpus as one of `workers` reads it, in steps of `batch` rows of all workers together.

    `weights` are those of the sources that are trained on. Of each of them `held_out` rows, drawn by the
    seed, are never trained on, and of those for evaluation as many are read. Documents are cut where
    rows end, so that a held-out row may go on where one that is trained on ended.
    Raises UsageError for weights of other sources, or a source without a row.
    """

    def __init__(
        self,
        store: Store,
        weights: Mapping[str, float],
        objective: Objective,
        batch: int,
        seed: int,
        worker: int = 0,
        workers: int = 1,
        held_out: int = HELD_OUT,
        patience: float = PATIENCE,
    ) -> None:
        self._objective, self._batch, self._seed = objective, batch, seed
        self._worker, self._workers, self._patience = worker, workers, patience
        self._weights = dict(weights)
        self._rows = {
            name: Rows(source, objective.length, objective.packed)
            for name, source in store.sources.items()
        }
        self._held_out = {
            name: min(held_out, len(rows) if store.sources[name].evaluation else len(rows) // 10)
            for name, rows in self._rows.items()
        }
        self.sizes = {
            name: len(rows) - self._held_out[name]
            for name, rows in self._rows.items()
            if name in weights and not store.sources[name].evaluation
        }
        _check(self.sizes, weights)

    def stream(self, state: Mapping[str, Any] | None) -> Stream:
        """The stream from its beginning, or from where it was. Raises StateError for another's state."""
        if state is None:
            return Stream(self.sizes, self._weights, self._seed)
        return Stream.restored(self.sizes, state)

    def feed(self, state: Mapping[str, Any] | None) -> Feeder[Batch]:
        """This worker's rows of each step, from the beginning, or from where a stream was."""
        stream = self.stream(state)
        start, stop = share(self._batch, self._worker, self._workers)

        def build() -> tuple[Batch, dict[str, Any]]:
            rows = stream.next(self._batch)[start:stop]
            return self.batch(rows), stream.state()

        return Feeder(build, patience=self._patience)

    def held_out(self) -> dict[str, Batch]:
        """Of each source the rows that no step sees: this worker's part of them.

        Each worker has as many, so that all go through the model together; a rest of rows is left out.
        """
        found = {}
        for name, count in self._held_out.items():
            whole = count // self._workers * self._workers
            start, stop = share(whole, self._worker, self._workers)
            first = len(self._rows[name]) - count
            if stop > start:
                found[name] = self.batch(
                    [Row(name, 0, first + number) for number in range(start, stop)]
                )
        return found

    def sample(self, count: int) -> Batch:
        """So many rows like those of a step, to measure what they take."""
        name = max(self.sizes, key=lambda name: self.sizes[name])
        return self.batch([Row(name, 0, number % self.sizes[name]) for number in range(count)])

    def batch(self, rows: Sequence[Row]) -> Batch:
        """What the model reads of `rows`, of which there is at least one."""
        pieces: list[Piece | None] = [None] * len(rows)
        for name in {row.source for row in rows}:
            places = [place for place, row in enumerate(rows) if row.source == name]
            numbers_N = self._drawn(name, np.array([rows[place].number for place in places]))
            for place, number in zip(places, numbers_N.tolist(), strict=True):
                pieces[place] = self._rows[name].read(number)
        length, padding = self._objective.length, self._objective.symbols.padding
        return self._objective.batch(rows, packed([p for p in pieces if p], length, padding))

    def reweighted(self, state: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, Any]:
        """The state of the stream with other shares of the sources from there on."""
        return self.stream(state).reweighted(weights).state()

    def weights(self, state: Mapping[str, Any]) -> dict[str, float]:
        """The shares of the sources in it."""
        return self.stream(state).weights()

    def epochs(self, state: Mapping[str, Any]) -> dict[str, float]:
        """How often each source was gone through by then."""
        return self.stream(state).epochs()

    def _drawn(self, name: str, numbers_N: np.ndarray) -> np.ndarray:
        """Where in a source its rows of these numbers lie: the last are held out, and lie anywhere."""
        return permuted(numbers_N, len(self._rows[name]), f"{self._seed}/{name}/held out")


def share(rows: int, worker: int, workers: int) -> tuple[int, int]:
    """From where to where a worker has the rows of a step: row k is of worker k · workers // rows."""
    return -(-worker * rows // workers), -(-(worker + 1) * rows // workers)


def _check(sizes: Mapping[str, int], weights: Mapping[str, float]) -> None:
    if missing := set(weights) - set(sizes):
        raise UsageError(
            f"sources {sorted(missing)} are not in the corpus, or there for evaluation; "
            f"it has {sorted(sizes)}"
        )
    if empty := sorted(name for name in weights if sizes[name] < 1):
        raise UsageError(
            f"sources {empty} have no row: give more text, take shorter rows, or leave them out"
        )
