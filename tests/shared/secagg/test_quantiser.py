"""Stochastic rounding: no bias, no overflow, and bounds that hold for every stream."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import AdapterError, CharterError
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.secagg.quantiser import Quantiser, dequantise
from fedward_shared.secagg.ring import CHUNK, Ring, largest

RING = Ring(32)


class Constant:
    """The extremes that a stream can give."""

    def __init__(self, word: int) -> None:
        self._word = word

    def words32(self, count: int) -> np.ndarray:
        return np.full(count, self._word, dtype=np.uint32)


def integers(quantiser: Quantiser, values: np.ndarray, **more: int) -> np.ndarray:
    numbers = quantiser.quantise(values, RING, Randomness.from_seed(0, "test"), **more)
    return RING.to_signed(numbers)


def test_the_mean_is_the_value() -> None:
    """40,000 draws of a value that lies 0.3 of a step above an integer: 5 deviations of the mean."""
    quantiser = Quantiser(1.0, 4)
    values = np.full(40_000, 2.3 * quantiser.step, dtype=np.float64)
    drawn = integers(quantiser, values)
    assert set(drawn) == {2, 3}
    assert abs(drawn.mean() - 2.3) < 5 * np.sqrt(0.3 * 0.7 / drawn.size)


@given(
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=20),
    st.sampled_from([0, 2**31, 2**32 - 1]),
    st.integers(2, 24),
)
def test_every_value_is_less_than_a_step_away_or_saturates(
    values: list[float], draw: int, precision: int
) -> None:
    quantiser = Quantiser(1.5, precision)
    array = np.array(values, dtype=np.float32)
    numbers = RING.to_signed(quantiser.quantise(array, RING, Constant(draw)))
    clipped = np.clip(array.astype(np.float64), -1.5, 1.5)
    assert np.abs(numbers).max() <= largest(precision)
    assert np.abs(numbers * quantiser.step - clipped).max() < quantiser.step * (1 + 1e-6)


def test_what_is_a_multiple_of_the_step_is_kept() -> None:
    quantiser = Quantiser(127.0, 8)
    values = np.arange(-127.0, 128.0)
    assert (integers(quantiser, values) == values).all()
    assert (integers(quantiser, values, weight=1000) == 1000 * values).all()


def test_values_beyond_the_bound_saturate_for_every_draw() -> None:
    quantiser = Quantiser(1.0, 8)
    for draw in (0, 2**32 - 1):
        numbers = quantiser.quantise(np.array([9.0, 1.0, -1.0, -9.0]), RING, Constant(draw))
        assert RING.to_signed(numbers).tolist() == [127, 127, -127, -127]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_wherever_it_stands(bad: float) -> None:
    values = np.zeros(CHUNK + 5, dtype=np.float32)
    values[CHUNK + 2] = bad
    with pytest.raises(AdapterError, match="NaN or infinity"):
        integers(Quantiser(1.0, 8), values)


def test_a_weighted_mean_is_read_from_the_sum() -> None:
    quantiser = Quantiser(2.0, 16)
    values = {3: np.linspace(-1, 1, 50), 5: np.linspace(2, -2, 50)}
    total = sum(integers(quantiser, value, weight=weight) for weight, value in values.items())
    mean = dequantise(total, quantiser.step / 8)
    assert mean.dtype == np.float32
    expected = (3 * values[3] + 5 * values[5]) / 8
    assert np.abs(mean - expected).max() < quantiser.step


@pytest.mark.parametrize("bound", [0.0, -1.0, np.inf, np.nan])
def test_a_bound_that_is_none_is_refused(bound: float) -> None:
    with pytest.raises(CharterError, match="bound"):
        Quantiser(bound, 8)
