"""The graph and its odds: against counting every case, and against drawing many."""

import random
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from fedward_shared.errors import AggregationError, CharterError
from fedward_shared.secagg import graph as module
from fedward_shared.secagg.graph import FAILURE, Graph, check_terms, degree_for, tail, with_degree


def graph(count: int, degree: int, seed: int = 0) -> Graph:
    return Graph(tuple(f"s{n:04d}" for n in range(count)), degree, seed.to_bytes(32))


@given(st.integers(4, 40), st.integers(1, 10), st.integers(0, 1000))
def test_it_is_regular_and_symmetric(count: int, half: int, seed: int) -> None:
    found = graph(count, 2 * half, seed)
    for name in found.names:
        near = found.neighbours(name)
        assert len(near) == min(2 * half, count - 1)
        assert near == sorted(set(near) - {name})
        assert all(name in found.neighbours(other) for other in near)
        assert found.closed(name) == sorted([*near, name])


def test_another_seed_gives_other_neighbours() -> None:
    first, second = graph(40, 6, 0), graph(40, 6, 1)
    assert first.neighbours("s0000") == graph(40, 6, 0).neighbours("s0000")
    assert any(first.neighbours(name) != second.neighbours(name) for name in first.names)


def test_a_stranger_has_no_neighbours() -> None:
    with pytest.raises(AggregationError, match="mallory is not in the cohort"):
        graph(5, 4).closed("mallory")


def reached(found: Graph, left: set[str]) -> set[str]:
    """By walking the edges."""
    seen, waiting = set(), [min(left)]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += left.intersection(found.neighbours(name))
    return seen


@given(st.integers(5, 16), st.sampled_from([2, 4, 6]), st.integers(0, 2**16), st.integers(0, 9))
def test_survivors_hang_together_exactly_where_a_walk_reaches_all(
    count: int, degree: int, chosen: int, seed: int
) -> None:
    found = graph(count, degree, seed)
    left = {name for place, name in enumerate(found.names) if chosen >> place & 1} or {"s0000"}
    connected = reached(found, left) == left
    assert found._complete or found._hangs_together(left) == connected


def test_what_is_cut_in_two_or_has_too_few_holders_is_refused() -> None:
    found = graph(12, 4)
    circle = found._circle
    apart = [*circle[0:4], *circle[6:10]]
    with pytest.raises(AggregationError, match="fall apart"):
        found.check([], apart, 3)
    with pytest.raises(AggregationError, match=f"2 neighbours of {circle[5]} are left"):
        found.check([circle[5]], apart[:5], 3)
    with pytest.raises(AggregationError, match=f"2 neighbours of {circle[0]} are left"):
        found.check([circle[0]], circle[:5], 3)
    found.check([circle[1]], circle[:5], 3)


@pytest.mark.parametrize(("count", "marked", "drawn"), [(20, 7, 6), (1000, 300, 50), (9, 9, 4)])
def test_tails_are_those_of_scipy(count: int, marked: int, drawn: int) -> None:
    for least in range(drawn + 2):
        expected = hypergeom(count, marked, drawn).sf(least - 1)
        assert tail(count, marked, drawn, least) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(("count", "gone", "degree"), [(10, 5, 4), (12, 6, 6), (11, 4, 2)])
def test_the_bound_of_falling_apart_holds(count: int, gone: int, degree: int) -> None:
    """Counted over every set that may be gone."""
    found = graph(count, degree)
    names = set(found.names)
    apart = sum(not found._hangs_together(names - set(lost)) for lost in combinations(names, gone))
    assert 0 < apart / comb(count, gone) <= module._cut(count, gone, degree)


def test_the_bounds_hold_in_a_simulation() -> None:
    """Terms under which failures are frequent enough to be seen in 3,000 draws."""
    count, minimum, colluding, degree = 40, 28, 6, 10
    chance = random.Random(0)
    terms = with_degree(count, minimum, colluding, degree)
    threshold = terms.threshold + 4
    bad = leaks = 0
    for draw in range(3000):
        found = graph(count, degree, draw)
        names = list(found.names)
        lost = set(chance.sample(names, count - minimum))
        spies = set(chance.sample(names, colluding))
        bad += any(len(set(found.neighbours(n)) - lost) < threshold for n in names)
        leaks += any(len(spies.intersection(found.neighbours(n))) >= 5 for n in names)
    assert (
        0 < bad / 3000 <= count * tail(count - 1, count - minimum, degree, degree - threshold + 1)
    )
    assert 0 < leaks / 3000 <= count * tail(count - 1, colluding, degree, 5)


@pytest.mark.parametrize(
    ("count", "minimum", "colluding"),
    [(51, 45, 5), (100, 75, 10), (300, 240, 20), (1000, 700, 50), (1000, 900, 100)],
)
def test_the_degree_is_the_smallest_that_keeps_both_promises(
    count: int, minimum: int, colluding: int
) -> None:
    found = degree_for(count, minimum, colluding)
    assert found.degree < count - 1
    assert max(found.leak, found.failure) <= FAILURE
    smaller = with_degree(count, minimum, colluding, found.degree - 2)
    assert max(smaller.leak, smaller.failure) > FAILURE


@pytest.mark.parametrize(("count", "minimum", "colluding"), [(3, 3, 1), (8, 6, 1), (50, 40, 10)])
def test_small_cohorts_are_complete(count: int, minimum: int, colluding: int) -> None:
    found = degree_for(count, minimum, colluding)
    assert (found.degree, found.threshold) == (count - 1, minimum)
    assert found.leak == found.failure == 0


def test_terms_that_no_degree_serves_make_a_complete_graph() -> None:
    assert degree_for(51, 50, 48).degree == 50


@pytest.mark.parametrize(
    ("count", "minimum", "colluding", "words"),
    [
        (8, 4, 0, "at least 5 are needed"),
        (8, 5, 2, "at least 6 are needed"),
        (8, 9, 1, "a minimum of 9 survivors, and 8 parties"),
        (3, 3, 2, "the one honest site"),
        (1, 1, 0, "the one honest site"),
    ],
)
def test_terms_that_protect_nobody_are_refused(
    count: int, minimum: int, colluding: int, words: str
) -> None:
    with pytest.raises(CharterError, match=words):
        check_terms(count, minimum, colluding)


@given(st.integers(2, 9), st.integers(0, 4), st.data())
def test_no_two_sets_can_both_be_signed_where_the_terms_hold(
    count: int, colluding: int, data: st.DataObject
) -> None:
    """Honest parties sign once; colluding ones sign whatever they are shown."""
    minimum = data.draw(st.integers(1, count))
    spies = min(colluding, count)
    honest = count - spies
    possible = any(
        one + spies >= minimum and honest - one + spies >= minimum for one in range(honest + 1)
    )
    try:
        check_terms(count, minimum, spies)
    except CharterError:
        return
    assert not possible
