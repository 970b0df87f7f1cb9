"""What a benchmark has measured: a figure of ours beside a peer's, and whether the goal is met."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison. Less is better: `ours` and `peer` are times, bytes or the like, in `unit`.

    `bound` is the largest ratio of ours to the peer's that meets the goal, None where there is none.
    A row without a peer is a figure that stands for itself.
    """

    name: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    unit: str = "s"
    bound: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours in parts of the peer's."""
        return None if self.peer is None else self.ours / self.peer

    @property
    def goal(self) -> str | None:
        """The goal in words."""
        return None if self.bound is None else f"ratio ≤ {self.bound:g}"

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met, None where there is none."""
        if self.bound is None or self.ratio is None:
            return None
        return self.ratio <= self.bound

    def as_json(self) -> dict[str, Any]:
        """As `result.json` has it."""
        return {
            "name": self.name,
            "ours": self.ours,
            "peer": self.peer,
            "peer_name": self.peer_name,
            "unit": self.unit,
            "ratio": self.ratio,
            "goal": self.goal,
            "holds": self.holds,
        }


def table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table."""
    return [
        "| what | ours | peer | | ratio | goal | met |",
        "|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]


def _cells(row: Row) -> list[str]:
    met = {True: "yes", False: "**no**", None: ""}[row.holds]
    return [
        row.name,
        f"{figure(row.ours)} {row.unit}",
        "" if row.peer is None else f"{figure(row.peer)} {row.unit}",
        row.peer_name,
        "" if row.ratio is None else f"{row.ratio:.3f}",
        row.goal or "",
        met,
    ]


def figure(value: float) -> str:
    """Four digits, and no more zeros than a person wants to count."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± standard deviation (of a sample, n - 1); of a single value itself, of none nothing."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"
