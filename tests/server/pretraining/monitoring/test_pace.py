"""The time that is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_server.pretraining.monitoring.pace import WINDOW, Pace

seconds = st.floats(0, 1e4)


def test_nothing_is_known_before_a_step() -> None:
    pace = Pace()
    pace.pause(3)
    assert pace.left(10) is None


@given(st.lists(seconds, min_size=2, max_size=3 * WINDOW), st.integers(0, 1000))
def test_it_is_the_mean_of_the_last_steps_without_the_first(taken: list[float], left: int) -> None:
    pace = Pace()
    for each in taken:
        pace.step(each)
    recent = taken[1:][-WINDOW:]
    assert pace.left(left) == pytest.approx(left * sum(recent) / len(recent))


def test_evaluations_and_checkpoints_count() -> None:
    pace = Pace()
    for _ in range(10):
        pace.step(2.0)
    pace.pause(4.0)
    pace.pause(1.0)
    assert pace.left(100) == pytest.approx(100 * 2.5)


def test_it_follows_a_change() -> None:
    pace = Pace()
    for each in [1.0] * 500 + [3.0] * WINDOW:
        pace.step(each)
    assert pace.left(1) == pytest.approx(3.0)
