"""Pieces of work over processes, in order, with few of them waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

Work = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""How pieces are computed: `map`, or what `processes` gives. Results are in the order of the pieces."""

AHEAD = 2
"""Pieces that wait for each process: `Executor.map` would take all there are into memory."""


@contextmanager
def processes(count: int) -> Iterator[Work]:
    """A `Work` on `count` processes, which live as long as the context."""
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:

        def work(function: Callable[[Any], Any], pieces: Iterable[Any]) -> Iterator[Any]:
            waiting: deque[Future[Any]] = deque()
            for piece in pieces:
                waiting.append(pool.submit(function, piece))
                if len(waiting) > AHEAD * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        yield work
