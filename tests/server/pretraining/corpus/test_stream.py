"""Which rows come: every row once an epoch, every source its share, the same after any stop."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_server.pretraining.corpus.stream import Stream, permuted
from fedward_shared.errors import StateError, UsageError

SOURCES = st.dictionaries(
    st.sampled_from(["books", "icd", "news", "zh", "web"]),
    st.tuples(st.integers(1, 50), st.floats(0.01, 100)),
    min_size=1,
)


def stream(sources: dict[str, tuple[int, float]], seed: int = 1) -> Stream:
    return Stream(
        {name: size for name, (size, _) in sources.items()},
        {name: weight for name, (_, weight) in sources.items()},
        seed,
    )


@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_a_permutation_has_each_number_once(size: int, key: int) -> None:
    places_N = np.arange(size)
    found_N = permuted(places_N, size, str(key))
    assert np.array_equal(np.sort(found_N), places_N)


@given(st.integers(1, 2**50), st.integers(0, 2**32))
def test_a_place_goes_where_it_goes_whatever_is_asked_beside_it(size: int, key: int) -> None:
    places_N = np.unique(np.linspace(0, size - 1, 7).astype(np.int64))
    together = permuted(places_N, size, str(key))
    alone = [permuted(place[None], size, str(key))[0] for place in places_N]
    assert together.tolist() == alone
    assert (together >= 0).all()
    assert (together < size).all()


def test_a_permutation_is_spread_evenly_and_leaves_no_order() -> None:
    size = 10_000
    found_N = permuted(np.arange(size), size, "key")
    counts = np.histogram(found_N[: size // 2], bins=20)[0]
    assert abs(counts - 250).max() < 60  # 250 and four standard deviations of a random half
    steps_N = np.diff(found_N)
    assert abs(np.corrcoef(found_N[:-1], found_N[1:])[0, 1]) < 0.04
    assert len(np.unique(steps_N)) > size / 2


@settings(max_examples=30)
@given(SOURCES, st.integers(1, 300))
def test_of_any_first_rows_a_source_has_its_share_within_one(
    sources: dict[str, tuple[int, float]], count: int
) -> None:
    found = stream(sources)
    weights = found.weights()
    taken: Counter[str] = Counter()
    for number, row in enumerate(found.next(count), 1):
        taken[row.source] += 1
        assert all(abs(taken[name] - weights[name] * number) < 1 for name in sources)


@settings(max_examples=30)
@given(SOURCES)
def test_an_epoch_has_each_row_of_its_source_once_and_the_next_in_another_order(
    sources: dict[str, tuple[int, float]],
) -> None:
    rows = stream(sources).next(400)
    for name, (size, _) in sources.items():
        own = [(row.epoch, row.number) for row in rows if row.source == name]
        for epoch in range(len(own) // size):
            part = own[epoch * size : (epoch + 1) * size]
            assert sorted(part) == [(epoch, number) for number in range(size)]


def test_two_epochs_and_two_seeds_have_two_orders() -> None:
    orders = set()
    for seed in (1, 2):
        rows = stream({"icd": (200, 1.0)}, seed).next(400)
        orders |= {tuple(row.number for row in rows[part : part + 200]) for part in (0, 200)}
    assert len(orders) == 4


@settings(max_examples=30)
@given(SOURCES, st.lists(st.integers(0, 40), max_size=12), st.integers(0, 11))
def test_it_goes_on_the_same_however_it_is_cut_and_wherever_it_stops(
    sources: dict[str, tuple[int, float]], counts: list[int], stop: int
) -> None:
    whole = stream(sources).next(sum(counts))
    found = stream(sources)
    rows = []
    for number, count in enumerate(counts):
        if number == stop:
            kept = json.loads(json.dumps(found.state()))
            found = Stream.restored({name: size for name, (size, _) in sources.items()}, kept)
        rows += found.next(count)
    assert rows == whole


def test_in_another_ratio_each_source_goes_on_where_it_was() -> None:
    sources = {"icd": (50, 3.0), "zh": (40, 1.0)}
    first = stream(sources)
    rows = first.next(30)
    second = first.reweighted({"icd": 1.0, "zh": 1.0})
    assert second.weights() == {"icd": 0.5, "zh": 0.5}
    after = second.next(20)
    assert Counter(row.source for row in after) == {"icd": 10, "zh": 10}
    alone = stream({"zh": (40, 1.0)}).next(17)
    assert [row for row in [*rows, *after] if row.source == "zh"][:17] == alone
    assert first.epochs()["zh"] < second.epochs()["zh"]
    kept = Stream.restored({"icd": 50, "zh": 40}, second.state())
    assert kept.next(9) == second.next(9)


@pytest.mark.parametrize(
    ("sizes", "weights", "says"),
    [
        ({}, {}, "each source needs one"),
        ({"a": 1}, {"b": 1.0}, "each source needs one"),
        ({"a": 0}, {"a": 1.0}, "'a' has no whole row"),
        ({"a": 1}, {"a": 0.0}, "weight 0.0"),
        ({"a": 1}, {"a": float("nan")}, "weight nan"),
        ({"a": 1}, {"a": float("inf")}, "weight inf"),
    ],
)
def test_what_cannot_be_is_refused(
    sizes: dict[str, int], weights: dict[str, float], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        Stream(sizes, weights, 1)


def test_the_state_of_another_corpus_is_refused() -> None:
    state = stream({"icd": (50, 1.0)}).state()
    with pytest.raises(StateError, match="go on with the corpus"):
        Stream.restored({"icd": 51}, state)
    with pytest.raises(StateError, match="no state of a stream"):
        Stream.restored({"icd": 50}, {"sizes": {"icd": 50}})
