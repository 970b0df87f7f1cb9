"""The live view of a simulation: a table that grows by a line a round, and the time that is left."""

import math
import time
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedward_server.observer import Observer
from fedward_shared import formats
from fedward_shared.report import RoundRecord

ROUNDS_SHOWN = 12
METRICS = (
    ("loss", "loss"),
    ("accuracy", "accuracy"),
    ("macro_f1", "macro-F1"),
    ("span_f1", "span-F1"),
    ("macro_span_f1", "macro span-F1"),
    ("perplexity", "perplexity"),
)


@dataclass
class Job:
    """A study that is to run, with the number of site rounds it takes and how dear one of them is."""

    name: str
    label: str
    rounds: int
    sites: int
    weight: float
    """Expected time of one site's round, in any unit that all jobs share."""

    @property
    def work(self) -> float:
        """Expected time of the whole study."""
        return self.rounds * self.sites * self.weight


@dataclass
class LiveView(Observer):
    """Draws on a terminal; writes a line a round where there is none (a log, a pipe)."""

    console: Console
    jobs: list[Job]
    title: str
    epsilon_limit: float | None
    _job: int = -1
    _done: float = 0.0
    _records: list[RoundRecord] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)
    _status: str = ""
    _live: Live | None = None

    def __enter__(self) -> "LiveView":
        if self.console.is_terminal:
            self._live = Live(self, console=self.console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        else:
            self.console.print(self.title)
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)
        del error

    def begin(self, job: int) -> None:
        """The study `jobs[job]` starts."""
        self._job = job
        self._records = []
        self._done = sum(done.work for done in self.jobs[:job])
        self._status = "preparing records"
        if self._live is None:
            self.console.print(f"{self.jobs[job].label}: {self.jobs[job].rounds} rounds")

    def gathered(self, sites: list[str], refused: dict[str, str]) -> None:
        """Shows who takes part."""
        self._status = f"{len(sites)} sites connected"
        for site, reason in refused.items():
            self.console.print(f"  {site} {reason}")

    def round_opened(self, number: int, asked: list[str]) -> None:
        """Shows what is waited for."""
        self._status = f"round {number}: waiting for {', '.join(asked)}"

    def answered(self, number: int, site: str) -> None:
        """Counts a site's answer."""
        self._status = f"round {number}: {site} answered"
        self._done += self.jobs[self._job].weight

    def round_closed(self, record: RoundRecord) -> None:
        """Adds the round's line."""
        self._records.append(record)
        if self._live is None:
            self.console.print(f"  {self._line(record)}, {self._time_left()}", highlight=False)

    def _line(self, record: RoundRecord) -> str:
        job = self.jobs[self._job]
        parts = [f"round {record.round}/{job.rounds}", f"cohort {len(record.cohort)}"]
        parts += [
            f"{label} {record.metrics[name]:.3f}"
            for name, label in METRICS
            if name in record.metrics
        ]
        spent = [value for value in record.epsilon.values() if value is not None]
        parts.append(f"ε {max(spent):.3f}" if spent else "no DP")
        parts.append(f"up {formats.size(record.bytes_up)}, down {formats.size(record.bytes_down)}")
        return ", ".join(parts)

    def _time_left(self) -> str:
        total = sum(job.work for job in self.jobs)
        elapsed = time.monotonic() - self._started
        if self._done <= 0:
            return "time left unknown yet"
        left = elapsed * (total - self._done) / self._done
        return f"{formats.duration(left)} left" if math.isfinite(left) else ""

    # The terminal's picture

    def __rich__(self) -> RenderableType:
        if self._job < 0:
            return Text(f"{self.title}\npreparing the data")
        job = self.jobs[self._job]
        total = sum(each.work for each in self.jobs)
        head = Text.assemble(
            (self.title, "bold"),
            "\n",
            f"study {self._job + 1} of {len(self.jobs)}: {job.label} · {self._status} · "
            f"{self._time_left()}",
        )
        return Group(
            head,
            ProgressBar(total=total, completed=min(self._done, total), width=72),
            self._rounds_table(),
            self._sites_table(),
        )

    def _rounds_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        shown = [pair for pair in METRICS if self._records and pair[0] in self._records[-1].metrics]
        for title in ("round", "cohort", *(label for _, label in shown), "up", "down", "seconds"):
            table.add_column(title, justify="right")
        for record in self._records[-ROUNDS_SHOWN:]:
            table.add_row(
                f"{record.round}/{self.jobs[self._job].rounds}",
                str(len(record.cohort)),
                *(
                    f"{record.metrics[name]:.3f}" if name in record.metrics else "–"
                    for name, _ in shown
                ),
                formats.size(record.bytes_up),
                formats.size(record.bytes_down),
                f"{record.seconds:.1f}",
            )
        return table

    def _sites_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        if not self._records:
            return table
        table.add_column("site")
        table.add_column("ε spent", justify="right")
        table.add_column("")
        for site, spent in self._records[-1].epsilon.items():
            if spent is None or self.epsilon_limit is None:
                table.add_row(site, "no DP", "")
            else:
                bar = ProgressBar(total=self.epsilon_limit, completed=spent, width=30)
                table.add_row(site, f"{spent:.3f} of {self.epsilon_limit:g}", bar)
        return table
