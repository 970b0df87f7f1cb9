"""How long a test waits for what other processes and threads do: as long as the slowest machine needs.

A wait ends when its condition holds, so patience costs nothing where all goes well. A number of its own
has only a test whose subject is that something is given up.
"""

import time
from collections.abc import Callable

import pytest

PATIENCE = 600.0
"""Seconds."""

POLL = 0.2
"""Seconds between two looks: what is looked at costs processor time, which those waited for need."""

LONG = pytest.mark.timeout(6 * PATIENCE)
"""Marks a test in which one wait comes after another."""


def until(condition: Callable[[], bool], tell: Callable[[], object] = lambda: "") -> None:
    """Back when `condition` holds; a failure says what `tell` tells then."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, tell()
        time.sleep(POLL)
