"""A few of many are in order, apart from each other, and all where there are few."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation.spread import spread


@given(count=st.integers(0, 10_000), most=st.integers(1, 40))
def test_they_are_at_equal_distances(count: int, most: int) -> None:
    found = spread(count, most)
    assert len(found) == min(count, most)
    assert all(0 <= number < count for number in found)
    steps = {later - earlier for earlier, later in pairwise(found)}
    assert not steps or (min(steps) > 0 and max(steps) - min(steps) <= 1)


def test_all_where_there_are_few() -> None:
    assert spread(5, 9) == [0, 1, 2, 3, 4]
    assert spread(30, 3) == [5, 15, 25]
