"""What is built ahead comes in its order, and what goes wrong there is told where it is asked for."""

import threading
import time
from itertools import count
from typing import Any

import pytest

from fedward_server.pretraining.corpus.feeding import Feeder, Stalled


def test_steps_come_in_their_order_and_few_are_built_ahead() -> None:
    built = []

    def build() -> tuple[int, dict[str, Any]]:
        built.append(len(built))
        return built[-1], {"after": len(built)}

    feeder = Feeder(build, ahead=2)
    found = [feeder.next() for _ in range(5)]
    assert [fed.rows for fed in found] == list(range(5))
    assert [fed.state for fed in found] == [{"after": number} for number in range(1, 6)]
    time.sleep(0.2)
    assert len(built) <= 5 + 2 + 1
    feeder.close()
    assert not feeder._thread.is_alive()


def test_what_was_waited_for_is_said() -> None:
    free = threading.Event()

    def build() -> tuple[int, dict[str, Any]]:
        free.wait(5)
        return 0, {}

    feeder = Feeder(build)
    threading.Timer(0.1, free.set).start()
    assert 0.05 < feeder.next().waited < 5
    time.sleep(0.05)
    assert feeder.next().waited < 0.05
    feeder.close()


def test_an_error_is_raised_after_what_was_built_before_it_and_again() -> None:
    numbers = count()

    def build() -> tuple[int, dict[str, Any]]:
        if (number := next(numbers)) == 2:
            raise OSError("no such disk")
        return number, {}

    feeder = Feeder(build)
    assert [feeder.next().rows, feeder.next().rows] == [0, 1]
    for _ in range(2):
        with pytest.raises(OSError, match="no such disk"):
            feeder.next()
    feeder.close()


def test_a_loader_that_gives_nothing_has_stalled_and_can_be_closed() -> None:
    free = threading.Event()

    def build() -> tuple[int, dict[str, Any]]:
        free.wait(30)
        return 0, {}

    feeder = Feeder(build, patience=0.05)
    with pytest.raises(Stalled, match=r"nothing for 0\.0\d+ s") as stalled:
        feeder.next()
    assert stalled.value.seconds >= 0.05
    start = time.monotonic()
    feeder.close()
    assert time.monotonic() - start < 2
    free.set()
    feeder._thread.join(5)
    assert not feeder._thread.is_alive()
