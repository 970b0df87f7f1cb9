"""Builds what comes next in a thread while the model computes, a few steps ahead and no more."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

AHEAD = 2
"""Steps that are built before they are asked for."""

PATIENCE = 300.0
"""Seconds after which a loader that gives nothing has stalled."""

T = TypeVar("T")


class Fed(NamedTuple, Generic[T]):
    """The rows of a step, where the stream is after them, and the seconds that they were waited for."""

    rows: T
    state: dict[str, Any]
    waited: float


class Stalled(Exception):
    """The loader has given nothing for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the loader has given nothing for {seconds:.3g} s")
        self.seconds = seconds


class _Failed(NamedTuple):
    error: BaseException


class Feeder(Generic[T]):
    """Calls `build` again and again in a thread; it gives the rows of a step and the state after them.

    Whoever ends with it closes it. A `build` that never returns is left behind, with its thread.
    """

    def __init__(
        self,
        build: Callable[[], tuple[T, dict[str, Any]]],
        ahead: int = AHEAD,
        patience: float = PATIENCE,
    ) -> None:
        self._build, self._patience = build, patience
        self._built: queue.Queue[tuple[T, dict[str, Any]] | _Failed] = queue.Queue(ahead)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._thread.start()

    def next(self) -> Fed[T]:
        """The rows of the next step.

        Raises what `build` raised, once what it built before is used up; Stalled if nothing comes.
        """
        asked = time.monotonic()
        try:
            built = self._built.get(timeout=self._patience)
        except queue.Empty:
            raise Stalled(time.monotonic() - asked) from None
        if isinstance(built, _Failed):
            self._built.put(built)  # and again for whoever asks again
            raise built.error
        return Fed(*built, time.monotonic() - asked)

    def close(self) -> None:
        """Ends the thread; what was built and not asked for is forgotten."""
        self._closing.set()
        while not self._built.empty():
            self._built.get_nowait()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                built: tuple[T, dict[str, Any]] | _Failed = self._build()
            except BaseException as error:
                built = _Failed(error)
            while not self._closing.is_set():
                try:
                    self._built.put(built, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if isinstance(built, _Failed):
                return
