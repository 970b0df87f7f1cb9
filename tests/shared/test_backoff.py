"""A process that keeps ending is started again, later each time."""

from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.backoff import STEADY_SECONDS, Backoff


def test_the_delay_doubles_up_to_a_minute_and_starts_again_after_a_good_run() -> None:
    backoff = Backoff()
    assert [backoff.after(0.5) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff.after(STEADY_SECONDS) == 1


@given(st.lists(st.floats(0, 1000)))
def test_a_delay_is_never_less_than_a_second_nor_more_than_a_minute(lives: list[float]) -> None:
    backoff = Backoff()
    assert all(1 <= backoff.after(lived) <= 60 for lived in lives)
