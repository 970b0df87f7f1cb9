"""The paired table: its intervals are those of Student's t, held against scipy's own."""

import pytest
from scipy.stats import ttest_1samp

from fedward_simulations.bench.recipe import Paired, interval, lines


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    differences = [0.011, 0.004, 0.019, -0.002, 0.008]
    mean, half = interval(differences)
    expected = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((expected.low, expected.high))


def test_one_seed_has_no_interval() -> None:
    assert interval([0.5]) == (0.5, float("inf"))


def test_rows_are_paired_within_their_epsilon() -> None:
    def paired(seed: int, epsilon: float, ours: float, probe: float) -> Paired:
        scores = {"federated-dp": ours, "probe-dp": probe, "alone": 0.0}
        rows = {name: {"macro_f1": f1, "accuracy": f1} for name, f1 in scores.items()}
        return Paired(seed, epsilon, rows)

    found = [paired(0, 1.0, 0.5, 0.4), paired(1, 1.0, 0.6, 0.5), paired(0, 8.0, 0.9, 0.7)]
    table = lines(found)
    assert table[2] == (
        "| 1 | macro_f1 | 0.5500 | 0.4500 | +0.1000 ± 0.0000 | 0.0000 | +0.5500 ± 0.6353 |"
    )
    assert table[4].startswith("| 8 | macro_f1 | 0.9000 | 0.7000 | +0.2000 ± inf |")
