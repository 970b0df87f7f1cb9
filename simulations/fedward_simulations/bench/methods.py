"""All adapter methods side by side: two tasks, ε = 1, 3, 8 and none, several seeds.

First the learning rate of each kind of method is chosen among three on a seed of its own, at one ε, by
the loss; a rule (`method_tasks`) carries it to the other methods of the kind and to the other ε. The
runs that are done are in one file for each task; whoever starts the benchmark again in the same folder
goes on after the last one. `tables.md` says what is there so far.
"""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from fedward_server.observer import Observer
from fedward_shared.charter_terms import SecureAggregationTerms
from fedward_shared.files import write_atomically
from fedward_shared.names import METHODS
from fedward_simulations.bench.kept import scratch
from fedward_simulations.bench.method_tasks import RATE_OF, TASKS, Task
from fedward_simulations.bench.rows import Row, spread
from fedward_simulations.consortium import Consortium, World

EPSILONS = (1.0, 3.0, 8.0, None)
SEEDS = (0, 1, 2)
TUNING_SEED, TUNING_EPSILON = 10, 3.0
SLOW = ("prefix-tuning",)
"""It reaches all layers, so none of them is computed ahead: its runs come last."""

PEER = "lora"
TABLES_FILE = "tables.md"


@dataclass(frozen=True)
class Run:
    """One study. `rate` is the learning rate before the task's rule; `epsilon` is None without DP;
    `masks` are the charter's terms of secure aggregation."""

    task: str
    method: str
    epsilon: float | None
    seed: int
    rate: float
    masks: dict[str, int] | None = None

    @property
    def name(self) -> str:
        """Of its study; it has no points."""
        budget = "without-dp" if self.epsilon is None else f"epsilon-{self.epsilon:g}"
        name = f"{self.task}-{self.method}-{budget}-seed-{self.seed}-rate-{self.rate:g}"
        return name.replace(".", "_") + ("-masked" if self.masks else "")


@dataclass(frozen=True)
class Measured:
    """What a run came to. Bytes are of one site in the last round; seconds are of this process."""

    run: Run
    scores: dict[str, float]
    bytes_up: int
    bytes_down: int
    seconds: float


class Comparison:
    """The runs of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = [measured for task in TASKS for measured in read(folder, task)]

    def all(self) -> list[Measured]:
        """Every run that is not done yet; then all."""
        for slow in (False, True):
            methods = [method for method in METHODS if (method in SLOW) == slow]
            for seed in SEEDS:
                for task in TASKS:
                    for method, epsilon in self._cells(task, methods):
                        rate = self._rate(task, method)
                        self.measure(task, Run(task.name, method, epsilon, seed, rate))
        self.write_tables()
        return self.found

    def _cells(self, task: Task, methods: Sequence[str]) -> Iterator[tuple[str, float | None]]:
        yield from ((m, epsilon) for epsilon in EPSILONS for m in methods if m in task.methods)

    def _rate(self, task: Task, method: str) -> float:
        """The rate whose loss is least on the tuning seed."""
        if method not in task.rates:
            method = RATE_OF[method]
        rates = task.rates[method]
        if len(rates) == 1:
            return rates[0]
        runs = [Run(task.name, method, TUNING_EPSILON, TUNING_SEED, rate) for rate in rates]
        losses = {run.rate: self.measure(task, run).scores["loss"] for run in runs}
        return min(losses, key=losses.__getitem__)

    def measure(self, task: Task, run: Run) -> Measured:
        """Runs it, unless that was done before."""
        for measured in self.found:
            if measured.run == run:
                return measured
        measured = self._measure(task, run)
        self.found.append(measured)
        own = [asdict(one) for one in self.found if one.run.task == task.name]
        write_atomically(_file(self.folder, task), json.dumps(own, indent=0).encode())
        self.write_tables()
        return measured

    def write_tables(self) -> None:
        """What is there so far, for people."""
        lines = [*tables(self.found), ""]
        write_atomically(self.folder / TABLES_FILE, "\n".join(lines).encode())

    def _measure(self, task: Task, run: Run) -> Measured:
        world = _world(task, run.seed, self.folder / "worlds" / f"{task.name}-{run.seed}")
        recipe = task.recipe(run.method, run.rate, run.epsilon)
        if run.masks is not None:
            recipe = replace(recipe, masks=SecureAggregationTerms.model_validate(run.masks))
        started = time.process_time()
        with scratch(world.folder / run.name):
            outcome = Consortium(world, Observer()).run(
                run.name, recipe, run.epsilon, every_round=False
            )
        last = outcome.records[-1]
        return Measured(
            run=run,
            scores=outcome.metrics,
            bytes_up=last.bytes_up // len(last.cohort),
            bytes_down=last.bytes_down // len(last.cohort),
            seconds=time.process_time() - started,
        )


def _file(folder: Path, task: Task) -> Path:
    return folder / f"{task.name}.json"


def read(folder: Path, task: Task) -> list[Measured]:
    """The runs of a task that are in its file."""
    path = _file(folder, task)
    if not path.is_file():
        return []
    content = json.loads(path.read_text("utf-8"))
    return [Measured(**{**one, "run": Run(**one["run"])}) for one in content]


@lru_cache(maxsize=1)
def _world(task: Task, seed: int, folder: Path) -> World:
    return task.world(seed, folder)


def tables(found: Sequence[Measured]) -> list[str]:
    """A Markdown table for each task: mean ± deviation over the seeds, and bytes of a site's round."""
    lines: list[str] = []
    for task in TASKS:
        epsilons = [_said(epsilon) for epsilon in EPSILONS]
        head = ["method", "rate", *epsilons, "bytes up", "bytes down"]
        lines += [f"**{task.title}**", "", _line(head), _line(["---"] * len(head))]
        for method in task.methods:
            own = _of(found, task.name, method)
            if own:
                cells = [_cell(own, task.score, e) for e in EPSILONS]
                widest = max(own, key=lambda measured: measured.bytes_up)
                sizes = [f"{widest.bytes_up:,}", f"{widest.bytes_down:,}"]
                lines.append(_line([method, f"{own[0].run.rate:g}", *cells, *sizes]))
        lines.append("")
    return lines


def _said(epsilon: float | None) -> str:
    return "without DP" if epsilon is None else f"ε = {epsilon:g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _of(found: Sequence[Measured], task: str, method: str) -> list[Measured]:
    """Those of the table; a run with masks (`bytes`) is another question."""
    own = [m for m in found if (m.run.task, m.run.method) == (task, method)]
    return [m for m in own if m.run.seed in SEEDS and m.run.masks is None]


def _cell(own: Sequence[Measured], score: str, epsilon: float | None) -> str:
    values = [m.scores[score] for m in own if m.run.epsilon == epsilon]
    if not values:
        return ""
    fewer = "" if len(values) == len(SEEDS) else f" ({len(values)} of {len(SEEDS)} seeds)"
    return spread(values, 3) + fewer


def rows(found: Sequence[Measured]) -> list[Row]:
    """Each method's mean loss beside that of plain averaging of A and B, for each task and ε."""
    made = []
    for task in TASKS:
        for method, epsilon in ((m, e) for e in EPSILONS for m in task.methods if m != PEER):
            ours, peer = (
                [x.scores["loss"] for x in _of(found, task.name, m) if x.run.epsilon == epsilon]
                for m in (method, PEER)
            )
            if ours and peer:
                name = f"{task.name}, {_said(epsilon)}, {method}: loss"
                means = statistics.fmean(ours), statistics.fmean(peer)
                made.append(Row(name, *means, "FedAvg of A and B", "nats"))
    return made


def run(folder: Path) -> list[Row]:
    """Goes on where it stopped; hours on one core. The tables are in `tables.md` of the folder."""
    return rows(Comparison(folder).all())
