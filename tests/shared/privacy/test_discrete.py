"""Drawn is the discrete Gaussian, by integers; its probabilities are held against mpmath's."""

from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from scipy.stats import chisquare

from fedward_shared.privacy import discrete
from fedward_shared.privacy.discrete import Table, table
from fedward_shared.privacy.randomness import Randomness


def probabilities(made: Table, row: int = 0) -> dict[int, Fraction]:
    """What each number is drawn with, exactly."""
    words = zip(made.high_RK[row].tolist(), made.low_RK[row].tolist(), strict=True)
    bounds = [0, *((high << 64) + low for high, low in words), 1 << 128]
    return {
        made.first + place: Fraction(after - before, 1 << 128)
        for place, (before, after) in enumerate(pairwise(bounds))
    }


@pytest.mark.parametrize(
    ("variance", "parts", "row"),
    [
        (Fraction(7), 1, 0),
        (Fraction(25, 4), 64, 0),
        (Fraction(25, 4), 64, 17),
        (Fraction(250), 1, 0),
    ],
)
def test_the_probabilities_are_those_of_a_discrete_gaussian(
    variance: Fraction, parts: int, row: int
) -> None:
    found = probabilities(table(variance, parts), row)
    with mpmath.workdps(60):
        centre = mpmath.mpf(row) / parts
        spread = 2 * mpmath.mpf(variance.numerator) / variance.denominator
        whole = mpmath.nsum(
            lambda k: mpmath.exp(-((k - centre) ** 2) / spread), [-mpmath.inf, mpmath.inf]
        )
        truth = {k: mpmath.exp(-((k - centre) ** 2) / spread) / whole for k in found}
        distance = sum(
            abs(mpmath.mpf(p.numerator) / p.denominator - truth[k]) for k, p in found.items()
        )
        assert (distance + 1 - sum(truth.values())) / 2 < 1e-30


@pytest.mark.parametrize(("variance", "parts", "row"), [(7, 1, 0), (300, 1, 0), (7, 16, 11)])
def test_the_draws_follow_the_probabilities(variance: int, parts: int, row: int) -> None:
    made = table(Fraction(variance), parts)
    count = 40_000
    drawn = made.draw(np.full(count, row), Randomness.from_seed(0, "draws"))
    expected = {k: float(p) * count for k, p in probabilities(made, row).items()}
    often = [k for k, mean in expected.items() if mean >= 10]
    seen = [(drawn == k).sum() for k in often] + [(~np.isin(drawn, often)).sum()]
    means = [expected[k] for k in often]
    assert chisquare(seen, [*means, count - sum(means)]).pvalue > 1e-4


class Given:
    """Words that are given."""

    def __init__(self, high: list[int], low: list[int]) -> None:
        self.given = np.array([*high, *low], dtype=np.uint64)

    def words64(self, count: int) -> np.ndarray:
        assert count == len(self.given)
        return self.given


@pytest.mark.parametrize("parts", [1, 4])
def test_a_draw_is_by_all_128_bits(parts: int) -> None:
    """At each bound of a row: one below it, the bound itself, and the first word alone in doubt."""
    made = table(Fraction(7), parts)
    row = parts - 1
    bounds = [
        (high << 64) + low
        for high, low in zip(made.high_RK[row].tolist(), made.low_RK[row].tolist(), strict=True)
    ]
    tried = sorted({0, (1 << 128) - 1, *bounds, *(b - 1 for b in bounds if b)})
    words = Given([t >> 64 for t in tried], [t & (2**64 - 1) for t in tried])
    drawn = made.draw(np.full(len(tried), row), words)
    assert drawn.tolist() == [made.first + sum(b <= t for b in bounds) for t in tried]


def test_cutting_up_the_draws_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made, rows = table(Fraction(7), 4), np.arange(100) % 4
    drawn = made.draw(rows, Randomness.from_seed(0, "x"))
    assert drawn.tolist() == made.draw(rows, Randomness.from_seed(0, "x")).tolist()
    monkeypatch.setattr(discrete, "CHUNK", 7)
    assert len(made.draw(rows, Randomness.from_seed(0, "x"))) == 100
    assert len(made.draw(rows[:0], Randomness.from_seed(0, "x"))) == 0
