"""A training on the terminal: one picture that stays in its place, or lines where there is none."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedward_server.pretraining.doctor import Treatment
from fedward_server.pretraining.monitoring.figures import Machine, perplexity, tokens_per_second
from fedward_server.pretraining.monitoring.pace import Pace
from fedward_server.pretraining.monitoring.spark import Course
from fedward_server.pretraining.reports import EvaluationReport, StepReport
from fedward_shared import formats

LINE_SECONDS = 10.0
"""Where there is no terminal, steps that are closer together have no line each."""
SAID = 4
"""How many treatments and notices stay in sight."""


class TerminalView:
    """Draws on `console`. A watcher."""

    def __init__(
        self, console: Console, machine: Machine, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._machine, self._clock = console, machine, clock
        self._pace, self._losses = Pace(), Course()
        self._report: StepReport | None = None
        self._evaluation: EvaluationReport | None = None
        self._kept: int | None = None
        self._said: deque[str] = deque(maxlen=SAID)
        self._line_at = -LINE_SECONDS
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self, console=self._console, refresh_per_second=4)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            with suppress(OSError, SystemExit):  # of a terminal that is gone
                self._live.__exit__(None, None, None)

    def step(self, report: StepReport) -> None:
        """The picture; or a line, of the first step, the last and some between."""
        self._report = report
        self._pace.step(report.seconds)
        self._losses.add(report.loss)
        last, now = report.step + 1 == report.steps, self._clock()
        if self._live is None and (last or now - self._line_at >= LINE_SECONDS):
            self._line_at = now
            self._print(f"{_place(report)}: {', '.join(self._figures(report))}, {self._left()}")

    def evaluation(self, report: EvaluationReport) -> None:
        """A table of the sources, or a line."""
        self._evaluation = report
        self._pace.pause(report.seconds)
        if self._live is None:
            each = (
                f"{source} {loss:.4f} ({_percent(report.accuracies.get(source))} right)"
                for source, loss in report.losses.items()
            )
            self._print(f"held out after {report.step:,} steps: {', '.join(each)}")

    def treatment(self, step: int, treatment: Treatment) -> None:
        """The doctor's reason, which names the step."""
        del step
        self._say(f"doctor: {treatment.reason}")

    def checkpoint(self, step: int, seconds: float) -> None:
        """That it is kept."""
        self._kept = step
        self._pace.pause(seconds)
        if self._live is None:
            self._print(f"checkpoint after {step:,} steps, {formats.duration(seconds)}")

    def notice(self, text: str) -> None:
        """Stays in sight for a while."""
        self._say(text)

    def _say(self, text: str) -> None:
        self._said.append(text)
        if self._live is None:
            self._print(text)

    def _print(self, text: str) -> None:
        try:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        except SystemExit as end:  # rich would end the process when its pipe is closed
            raise BrokenPipeError("nobody reads what it writes") from end

    def _figures(self, report: StepReport) -> list[str]:
        found = [
            f"loss {report.loss:.4f}",
            f"perplexity {perplexity(report.loss):,.4g}",
            f"gradient {report.gradient_norm:.3g}",
            f"rate {report.rate:.3g}",
            f"{tokens_per_second(report):,.0f} tokens/s",
        ]
        if (share := self._machine.mfu(report)) is not None:
            found.append(f"MFU {_percent(share)}")
        return [*found, formats.size(report.memory)]

    def _left(self) -> str:
        assert self._report is not None
        left = self._pace.left(self._report.steps - self._report.step - 1)
        return "" if left is None else f"{formats.duration(left)} left"

    # The terminal's picture

    def __rich__(self) -> RenderableType:
        report = self._report
        if report is None:
            return Group(Text("waiting for the first step"), *map(Text, self._said))
        kept = "" if self._kept is None else f" · checkpoint after {self._kept:,}"
        head = Text.assemble((_place(report), "bold"), f" · {self._left()}{kept}")
        width = min(72, self._console.width)
        return Group(
            head,
            _line(ProgressBar(total=report.steps, completed=report.step + 1, width=width)),
            Text.assemble("loss ", (self._losses.drawn(min(60, width - 5)), "cyan")),
            Text(" · ".join(self._figures(report))),
            *([] if self._evaluation is None else [_sources(self._evaluation)]),
            *(Text(text, style="yellow") for text in self._said),
        )


def _line(bar: ProgressBar) -> Table:
    """`bar` ends no line by itself."""
    table = Table.grid()
    table.add_row(bar)
    return table


def _sources(report: EvaluationReport) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(f"held out after {report.step:,}")
    for title in ("loss", "perplexity", "right"):
        table.add_column(title, justify="right")
    for source, loss in report.losses.items():
        right = _percent(report.accuracies.get(source))
        table.add_row(Text(source), f"{loss:.4f}", f"{perplexity(loss):,.4g}", right)
    return table


def _place(report: StepReport) -> str:
    return f"step {report.step + 1:,} of {report.steps:,}"


def _percent(share: float | None) -> str:
    return formats.metric(share, "percent", 1)
