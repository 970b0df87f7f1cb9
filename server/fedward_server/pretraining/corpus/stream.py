"""Which rows make up each step: a function of the seed and of how many rows were taken before.

**Which source** the next row is of is decided by earliest deadline first among those that are due
(Baruah et al. 1996, "Proportionate progress"). So of any first k rows a source of share w has w·k, give
or take less than one: small sources do not come in bursts, and no chance decides how much of each there
is.

**Which row** of it: the next in the order of a permutation that is computed and not kept, a Feistel
network (Luby and Rackoff 1988) of at least `size` values, applied again where its value is outside
(Black and Rogaway 2002). Each epoch of a source has another. A source is begun anew when it is used up,
whatever the others do.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha512
from typing import Any, NamedTuple, Self

import numpy as np

from fedward_shared.errors import StateError, UsageError

SHARES = 1_000_000
"""Shares are whole parts of about so many: what is due is reckoned in integers, the same everywhere."""

_ROUNDS = 6


class Row(NamedTuple):
    """Row `number` of `source`, in the source's epoch `epoch`; both counted from 0."""

    source: str
    epoch: int
    number: int


class Stream:
    """Rows without end, of sources that have `sizes` rows each, in the ratio of `weights`.

    Raises UsageError unless the same sources have sizes and weights, all of them above 0.
    """

    def __init__(self, sizes: Mapping[str, int], weights: Mapping[str, float], seed: int) -> None:
        _check(sizes, weights)
        self.seed = seed
        self._names = sorted(sizes)
        self._sizes = [sizes[name] for name in self._names]
        self._shares = _shares([weights[name] for name in self._names])
        self._taken = [0] * len(sizes)
        self._since = [0] * len(sizes)

    def next(self, count: int) -> list[Row]:
        """The next `count` rows: the same ones in however many calls they are asked for."""
        sources_N = self._scheduled(count)
        rows: list[Row | None] = [None] * count
        for source, name in enumerate(self._names):
            places = np.flatnonzero(sources_N == source)
            order = self._order(source, len(places))
            for place, epoch, number in zip(places.tolist(), *order, strict=True):
                rows[place] = Row(name, epoch, number)
            self._taken[source] += len(places)
        return [row for row in rows if row]

    def weights(self) -> dict[str, float]:
        """The share of each source, of 1."""
        total = sum(self._shares)
        return {name: share / total for name, share in self._named(self._shares).items()}

    def epochs(self) -> dict[str, float]:
        """How often each source was gone through."""
        sizes = self._named(self._sizes)
        return {name: taken / sizes[name] for name, taken in self._named(self._taken).items()}

    def reweighted(self, weights: Mapping[str, float]) -> "Stream":
        """A stream that goes on in another ratio, in each source from where this one is.

        Raises UsageError for weights of other sources, or that are not above 0.
        """
        stream = Stream(self._named(self._sizes), weights, self.seed)
        stream._taken = list(self._taken)
        return stream

    def state(self) -> dict[str, Any]:
        """All there is to know, as JSON: integers by source."""
        return {
            "seed": self.seed,
            "sizes": self._named(self._sizes),
            "shares": self._named(self._shares),
            "taken": self._named(self._taken),
            "since": self._named(self._since),
        }

    @classmethod
    def restored(cls, sizes: Mapping[str, int], state: Mapping[str, Any]) -> Self:
        """The stream whose `state` that was.

        Raises StateError if it was over sources of other sizes, or is no state of a stream.
        """
        try:
            if dict(state["sizes"]) != dict(sizes):
                raise StateError(
                    f"the stream was over rows {dict(state['sizes'])} and the corpus has {dict(sizes)}: "
                    "go on with the corpus and the length of rows that the training began with"
                )
            stream = cls(sizes, state["shares"], state["seed"])
            stream._shares = [int(state["shares"][name]) for name in stream._names]
            stream._taken = [int(state["taken"][name]) for name in stream._names]
            stream._since = [int(state["since"][name]) for name in stream._names]
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise StateError(f"no state of a stream: {error}") from error
        return stream

    def _named(self, values: Sequence[int]) -> dict[str, int]:
        return dict(zip(self._names, values, strict=True))

    def _scheduled(self, count: int) -> np.ndarray:
        """The sources of the next `count` rows, by number, [N].

        The j-th row of a source of share w is due from the slot on in which w · slot passes j - 1, and
        late after slot j / w; of those due the one that would be late first comes next.
        """
        total, slot = sum(self._shares), sum(self._since)
        deadlines = [self._deadline(source, total) for source in range(len(self._names))]
        scheduled_N = np.empty(count, np.int64)
        for place in range(count):
            slot += 1
            due = [
                (deadlines[source], source)
                for source, share in enumerate(self._shares)
                if self._since[source] * total < share * slot
            ]
            _, source = min(due)
            scheduled_N[place] = source
            self._since[source] += 1
            deadlines[source] = self._deadline(source, total)
        return scheduled_N

    def _deadline(self, source: int, total: int) -> int:
        return -(-(self._since[source] + 1) * total // self._shares[source])

    def _order(self, source: int, count: int) -> tuple[list[int], list[int]]:
        """Epochs and numbers of the next `count` rows of a source."""
        taken_N = self._taken[source] + np.arange(count)
        epochs_N, places_N = np.divmod(taken_N, self._sizes[source])
        numbers_N = np.empty_like(places_N)
        for epoch in np.unique(epochs_N):
            key = f"{self.seed}/{self._names[source]}/{epoch}"
            here = epochs_N == epoch
            numbers_N[here] = permuted(places_N[here], self._sizes[source], key)
        return epochs_N.tolist(), numbers_N.tolist()


def permuted(places_N: np.ndarray, size: int, key: str) -> np.ndarray:
    """Where a permutation of 0 … size - 1, drawn by `key`, sends `places_N` (int64)."""
    half = max(1, -(-(size - 1).bit_length() // 2))
    keys = np.frombuffer(sha512(key.encode()).digest(), "<u8")[:_ROUNDS]
    found_N = _network(places_N.astype(np.uint64), half, keys)
    while (outside := np.flatnonzero(found_N >= size)).size:
        found_N[outside] = _network(found_N[outside], half, keys)
    return found_N.astype(np.int64)


def _network(values_N: np.ndarray, half: int, keys: np.ndarray) -> np.ndarray:
    """A Feistel network on numbers of 2 · half bits: a bijection whatever its rounds compute."""
    bits, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left_N, right_N = values_N >> bits, values_N & mask
    for key in keys:
        mixing_N = _mixed(right_N ^ key) & mask
        left_N, right_N = right_N, left_N ^ mixing_N
    joined_N: np.ndarray = (left_N << bits) | right_N
    return joined_N


def _mixed(values_N: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), modulo 2^64."""
    values_N = (values_N ^ (values_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values_N = (values_N ^ (values_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed_N: np.ndarray = values_N ^ (values_N >> np.uint64(31))
    return mixed_N


def _check(sizes: Mapping[str, int], weights: Mapping[str, float]) -> None:
    if not sizes or set(sizes) != set(weights):
        raise UsageError(
            f"weights of {sorted(weights)} for sources {sorted(sizes)}: each source needs one"
        )
    for name in sizes:
        if sizes[name] < 1:
            raise UsageError(f"source {name!r} has no whole row: more text, or shorter rows")
        if not 0 < weights[name] < float("inf"):
            raise UsageError(f"source {name!r} has the weight {weights[name]}: above 0, and finite")


def _shares(weights: Sequence[float]) -> list[int]:
    total = sum(weights)
    return [max(1, round(weight / total * SHARES)) for weight in weights]
