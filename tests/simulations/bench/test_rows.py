"""Whether a goal is met, and what of it is written."""

import pytest

from fedward_simulations.bench.rows import Row, figure, spread, table


def test_a_goal_is_met_up_to_its_bound() -> None:
    assert Row("a", 1.0, 5.0, "peer", bound=0.2).holds is True
    assert Row("a", 1.01, 5.0, "peer", bound=0.2).holds is False


def test_without_a_bound_or_a_peer_nothing_is_claimed() -> None:
    assert Row("a", 1.0, 5.0, "peer").holds is None
    assert Row("a", 1.0).ratio is None
    assert Row("a", 1.0).as_json()["goal"] is None


def test_a_goal_that_is_missed_stands_out() -> None:
    lines = table([Row("a", 3000.0, 1000.0, "peer", "bytes", bound=1.0)])
    assert lines[2] == "| a | 3,000 bytes | 1,000 bytes | peer | 3.000 | ratio ≤ 1 | **no** |"


@pytest.mark.parametrize(("value", "text"), [(0.012346, "0.01235"), (12345.6, "12,346")])
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


def test_a_deviation_is_that_of_a_sample() -> None:
    assert spread([1.0, 3.0], 2) == "2.00 ± 1.41"
    assert spread([1.0]) == "1.0"
    assert spread([]) == ""
