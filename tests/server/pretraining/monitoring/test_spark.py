"""The small curve."""

import math

from hypothesis import given
from hypothesis import strategies as st

from fedward_server.pretraining.monitoring.spark import LEVELS, Course, bars


def drawn(values: list[float], width: int) -> str:
    course = Course()
    for value in values:
        course.add(value)
    return course.drawn(width)


def test_least_and_largest_are_the_ends_of_the_scale() -> None:
    assert bars([0.0, 3.5, 7.0]) == f"{LEVELS[0]}{LEVELS[4]}{LEVELS[7]}"
    assert bars([5.0, 5.0]) == LEVELS[0] * 2
    assert bars([]) == ""


def test_a_few_values_have_a_character_each() -> None:
    assert drawn([3.0, 2.0, 1.0], 40) == f"{LEVELS[7]}{LEVELS[4]}{LEVELS[0]}"
    assert drawn([], 40) == ""
    assert drawn([math.nan, math.inf], 40) == ""


@given(st.integers(1, 5000), st.integers(1, 80))
def test_a_falling_series_of_any_length_falls(count: int, width: int) -> None:
    text = drawn([float(-number) for number in range(count)], width)
    assert 1 <= len(text) <= width
    assert list(text) == sorted(text, reverse=True)
    if width > 8 and count > 8:
        assert (text[0], text[-1]) == (LEVELS[7], LEVELS[0])
