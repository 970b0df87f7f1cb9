"""How long to wait before a process that ended is started again."""

from dataclasses import dataclass

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
STEADY_SECONDS = 60.0


@dataclass
class Backoff:
    """Seconds to wait: doubled with each failure, from the start again after one that ran steadily."""

    wait: float = FIRST_SECONDS

    def after(self, ran_seconds: float) -> float:
        """How long to wait now that a process has ended which ran for that long."""
        if ran_seconds >= STEADY_SECONDS:
            self.wait = FIRST_SECONDS
        now, self.wait = self.wait, min(2 * self.wait, LONGEST_SECONDS)
        return now
