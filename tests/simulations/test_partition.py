"""Partitions: disjoint, of the size asked for, skewed as asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_simulations.partition import Indices, Scheme, partition

LABELS = ["common"] * 600 + ["rare"] * 90 + ["rarest"] * 10


def shares(parts: list[Indices], label: str) -> list[float]:
    labels = np.asarray(LABELS)
    return [float(np.mean(labels[part] == label)) for part in parts]


@given(
    labels=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=120),
    sites=st.integers(1, 6),
    scheme=st.one_of(st.just("iid"), st.floats(1e-3, 1e3).map(lambda alpha: f"dirichlet:{alpha}")),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_sites_are_disjoint_and_full(
    labels: list[str], sites: int, scheme: str, seed: int, data: st.DataObject
) -> None:
    most = len(labels) // sites
    if most == 0:
        with pytest.raises(ValueError, match="records do not give"):
            partition(labels, sites, None, Scheme.parse(scheme), seed)
        return
    size = data.draw(st.none() | st.integers(1, most))
    parts = partition(labels, sites, size, Scheme.parse(scheme), seed)
    assert [len(part) for part in parts] == [size or most] * sites
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    assert 0 <= together.min() <= together.max() < len(labels)
    again = partition(labels, sites, size, Scheme.parse(scheme), seed)
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))


def test_a_small_alpha_is_skewed_and_a_large_one_is_not() -> None:
    def spread(scheme: str) -> float:
        draws = [partition(LABELS, 4, 60, Scheme.parse(scheme), seed) for seed in range(20)]
        return float(np.mean([np.ptp(shares(parts, "rare")) for parts in draws]))

    assert spread("dirichlet:0.1") > 2 * spread("dirichlet:100")
    assert spread("dirichlet:1000") < 0.05


@pytest.mark.parametrize("alpha", ["0.05", "0.5", "5"])
def test_together_the_sites_have_the_frequencies_of_the_whole(alpha: str) -> None:
    parts = partition(LABELS, 4, 140, Scheme.parse(f"dirichlet:{alpha}"), 0)
    union = np.concatenate(parts)
    assert shares([union], "common")[0] == pytest.approx(600 / 700, abs=0.02)
    assert shares([union], "rare")[0] == pytest.approx(90 / 700, abs=0.02)


def test_a_column_makes_the_sites() -> None:
    column = ["west", "east", "west", "north", "east"]
    scheme = Scheme.parse("column:ward")
    assert [part.tolist() for part in partition(column, 3, None, scheme, 0)] == [
        [1, 4],
        [3],
        [0, 2],
    ]
    assert [len(part) for part in partition(column, 3, 1, scheme, 0)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("scheme", "sites", "size", "message"),
    [
        ("iid", 0, None, "at least one"),
        ("iid", 2, 0, "at least one"),
        ("iid", 4, 200, "700 records do not give 4 sites 200 each"),
        ("dirichlet:1", 701, None, "701 sites"),
        ("column:ward", 4, None, "'ward' has 3 values"),
        ("column:ward", 3, 11, "10 records with 'rarest'"),
    ],
)
def test_impossible_requests(scheme: str, sites: int, size: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition(LABELS, sites, size, Scheme.parse(scheme), 0)


@pytest.mark.parametrize(
    "text", ["", "iid:1", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:nan", "column:", "x"]
)
def test_unknown_schemes(text: str) -> None:
    with pytest.raises(ValueError, match="partition"):
        Scheme.parse(text)
