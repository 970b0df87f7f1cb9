"""How long a training still takes."""

from collections import deque

WINDOW = 64


class Pace:
    """The seconds of the last steps, and of what came between steps."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._steps = 0
        self._paused = 0.0

    def step(self, seconds: float) -> None:
        """A step took `seconds`. The first one, in which much is made for later, soon counts no more."""
        if self._steps == 1:
            self._recent.clear()
        self._steps += 1
        self._recent.append(seconds)

    def pause(self, seconds: float) -> None:
        """An evaluation or a checkpoint did."""
        self._paused += seconds

    def left(self, steps: int) -> float | None:
        """The seconds that `steps` more take with as much between them as so far; None before one."""
        if not self._steps:
            return None
        return steps * (sum(self._recent) / len(self._recent) + self._paused / self._steps)
