"""The fold at its bounds: the largest sums that it admits are exact, and it admits no larger ones."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_server.fold import LARGEST_SUM, SCALED_BITS, Fold, fraction_bits
from fedward_server.layout import NORM_SLACK, PIECE, Layout, Row
from fedward_shared import tensors
from fedward_shared.errors import AdapterError


def fold(size: int, bound: float, total_weight: int) -> Fold:
    return Fold(Layout({"w": (size,)}), bound, total_weight)


def row(*values: float) -> Row:
    return np.array(values, np.float32)


@given(st.floats(1e-6, 1e6), st.integers(1, 10**6))
def test_no_sum_that_the_bounds_admit_can_overflow(bound: float, total_weight: int) -> None:
    bits = fraction_bits(bound, total_weight)

    def fits(bits: int) -> bool:
        largest = bound * (1 + NORM_SLACK) * 2.0**bits + 0.5
        return largest <= 2.0**SCALED_BITS and total_weight * largest <= LARGEST_SUM

    assert fits(bits)
    assert not fits(bits + 2)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("share", [1, 7, 1000])
def test_the_largest_values_with_the_largest_weights_do_not_overflow(
    sign: float, share: int
) -> None:
    full = fold(2, 3.0, 7000)
    for _ in range(7000 // share):
        full.add("north", row(sign * 3.0, 0.0), share)
    assert full.mean()["w"].tolist() == pytest.approx([sign * 3.0, 0.0], abs=1e-4)


def test_one_weight_too_many_is_refused_and_nothing_is_added() -> None:
    small = fold(1, 100.0, 10)
    small.add("north", row(1.0), 9)
    with pytest.raises(AdapterError, match="weights of a round add up"):
        small.add("north", row(100.0), 2)
    small.add("north", row(1.0), 1)
    assert float(small.mean()["w"]) == pytest.approx(1.0, abs=1e-6)


def test_a_number_is_rounded_to_the_nearest_step() -> None:
    small = fold(4, 1.0, 1)
    step = 2.0**-small.fraction_bits
    small.add("north", row(step, 0.6 * step, 0.4 * step, -0.6 * step), 1)
    assert small.mean()["w"].tolist() == [step, step, 0.0, -step]


@pytest.mark.parametrize("sites", [1, 10, 500, 100_000])
def test_an_update_is_resolved_to_a_part_of_the_bound(sites: int) -> None:
    assert 2.0 ** -fraction_bits(1.0, sites) <= 2.0 * max(2.0**-22, sites * 2.0**-31) * 1.01


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf, 3e38, 5.1])
@pytest.mark.parametrize("weight", [1, 3])
def test_a_row_that_is_refused_leaves_no_trace(broken: float, weight: int) -> None:
    size = PIECE + 3
    update = np.random.default_rng(0).normal(size=size).astype(np.float32) * np.float32(1e-3)
    folded, other = fold(size, 5.0, 10), fold(size, 5.0, 10)
    folded.add("south", update, 2)
    other.add("south", update, 2)
    bad = update.copy()
    bad[-1] = broken
    with pytest.raises(AdapterError, match="update of north: it"):
        folded.add("north", bad, weight)
    assert folded.total_weight == 2
    assert tensors.digest(folded.mean()) == tensors.digest(other.mean())


def test_an_update_that_the_bound_swallows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    folded = fold(2, 1.0, 1000)
    step = 2.0**-folded.fraction_bits
    folded.add("north", row(2 * step, 0.0), 1)
    assert "lost in rounding" not in capsys.readouterr().out
    folded.add("south", row(0.5 * step, 0.5 * step), 1)
    assert "lost in rounding" in capsys.readouterr().out


def test_opposite_updates_leave_exactly_nothing() -> None:
    large = fold(PIECE + 3, 1e3, 16)
    update = np.random.default_rng(0).normal(size=PIECE + 3).astype(np.float32)
    for weight in (3, 5):
        large.add("north", update, weight)
        large.add("north", -update, weight)
    assert tensors.norm(large.mean()) == 0


def test_an_empty_fold_has_no_mean() -> None:
    with pytest.raises(ZeroDivisionError):
        fold(1, 1.0, 1).mean()


def test_nothing_can_be_added_to_a_mean() -> None:
    done = fold(1, 1.0, 2)
    done.add("north", row(1.0), 1)
    mean = done.mean()["w"].clone()
    with pytest.raises(AdapterError):
        done.add("north", row(1.0), 1)
    assert torch.equal(mean, torch.ones(1))
    assert math.isclose(float(mean), 1.0)


@given(
    st.permutations(range(6)),
    st.lists(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3), min_size=6, max_size=6),
)
def test_the_order_of_arrival_changes_no_bit(order: list[int], values: list[list[float]]) -> None:
    means = []
    for sequence in (range(6), order):
        folded = fold(3, 16.0, 21)
        for i in sequence:
            folded.add("north", row(*values[i]), 1 + i)
        means.append(folded.mean())
    assert tensors.digest(means[0]) == tensors.digest(means[1])
    weights = torch.arange(1, 7, dtype=torch.float64)
    plain = (torch.tensor(values, dtype=torch.float64) * weights[:, None]).sum(0) / weights.sum()
    half = 0.5 * 2.0 ** -fraction_bits(16.0, 21)
    torch.testing.assert_close(means[0]["w"].double(), plain, atol=1.01 * half, rtol=1e-6)
