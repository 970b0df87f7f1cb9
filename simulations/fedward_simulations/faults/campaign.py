"""Many seeded runs: each on a fresh copy, checked, kept as a line, and summed up in `result.json`."""

import io
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fedward_shared import formats
from fedward_shared.errors import InvariantViolated
from fedward_shared.files import write_atomically
from fedward_shared.report import RESULT_FILE
from fedward_simulations.faults import consortium, operations
from fedward_simulations.faults.invariants import INVARIANTS, check
from fedward_simulations.faults.operations import COORDINATOR
from fedward_simulations.faults.run import run
from fedward_simulations.runs import STUDIES_FOLDER, claim, log_into

SCHEMA = "fedward-faults/1"
RUNS_FILE = "runs.jsonl"
LOG_FILE = "log.jsonl"
MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of its own is made there
"""Where there is such a disk: thousands of flushes cost nothing there, and no power is really cut."""

COMPLETE, RESUMED, STOPPED = "complete", "resumed and complete", "stopped"
Line = dict[str, Any]
"""What is kept of a run, as JSON."""


@dataclass(frozen=True)
class Options:
    """What a campaign is asked for: the runs with the seeds `seed`, `seed` + 1, …"""

    out: Path
    runs: int
    seed: int


def campaign(options: Options, console: Console) -> Line:
    """Runs what is not done yet and writes the result, which is returned.

    An interrupted campaign goes on. Raises InvariantViolated after the table if a run broke one, and
    UsageError as `runs.claim` does.
    """
    resumed = claim(options.out, f"faults --seed {options.seed}")
    path = options.out / STUDIES_FOLDER / RUNS_FILE
    lines = _kept(path, options) if resumed else []
    path.parent.mkdir(parents=True, exist_ok=True)
    with _work() as work, _progress(console, options.runs) as told, path.open("ab") as file:
        templates = consortium.make_all(work)
        for seed in range(options.seed + len(lines), options.seed + options.runs):
            told(len(lines))
            lines.append(_one(templates, work / "run", options.out, seed))
            file.write(json.dumps(lines[-1], ensure_ascii=False).encode() + b"\n")
            file.flush()
    result = summary(options.seed, lines)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    write_atomically(options.out / RESULT_FILE, f"{text}\n".encode())
    for line in table(result):
        console.print(line)
    if result["violations"]:
        raise InvariantViolated(
            f"{len(result['violations'])} violations in {options.runs} runs; the first, with seed "
            f"{result['violations'][0]['seed']}: {result['violations'][0]['invariant']}: "
            f"{result['violations'][0]['seen']} (all of them: {options.out / RESULT_FILE})"
        )
    return result


def _kept(path: Path, options: Options) -> list[Line]:
    """The lines of the runs that are done; one that was cut off is dropped from the file."""
    whole = [part for part in path.read_bytes().splitlines(True) if part.endswith(b"\n")]
    whole = whole[: options.runs]
    write_atomically(path, b"".join(whole))
    return [json.loads(part) for part in whole]


@contextmanager
def _work() -> Iterator[Path]:
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fedward-faults-", dir=place) as folder:
        yield Path(folder)


def _one(templates: consortium.Templates, folder: Path, out: Path, seed: int) -> Line:
    minimum, masked = operations.minimum_cohort(seed), operations.masked(seed)
    planned = operations.derive(seed)
    started = time.monotonic()
    log = io.StringIO()  # a file of its own would be full where a site's disk is
    log_into(log)
    try:
        world, ending = run(templates[minimum, masked], folder, planned)
        violations = check(world, ending)
    finally:
        with (out / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seed": seed}) + "\n" + log.getvalue())
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "seed": seed,
        "minimum_cohort": minimum,
        "masked": masked,
        "operations": [asdict(operation) for operation in planned],
        "happened": [asdict(operation) for operation in world.happened],
        "outcome": ending.outcome,
        "resumes": ending.resumes,
        "decisions": world.decisions,
        "trainings": sum(world.trainings.values()),
        "crashed_reservations": sum(world.crashed.values()),
        "violations": [{"invariant": name, "seen": seen} for name, seen in violations],
        "seconds": round(time.monotonic() - started, 3),
    }


# What it comes to


def summary(seed: int, lines: list[Line]) -> Line:
    """`result.json`: the same for the same seed and runs, but for `seconds`."""
    violations = [
        {name: line[name] for name in ("seed", "minimum_cohort", "masked", "operations")}
        | violation
        for line in lines
        for violation in line["violations"]
    ]
    broken = Counter(violation["invariant"] for violation in violations)
    kills = [o for line in lines for o in line["happened"] if o["fault"] == "kill"]
    return {
        "schema": SCHEMA,
        "seed": seed,
        "runs": len(lines),
        "violations": violations,
        "invariants": {check.__name__: broken[check.__name__] for check in INVARIANTS},
        "operations": sum(len(line["operations"]) for line in lines),
        "happened": sum(len(line["happened"]) for line in lines),
        "outcomes": _sorted(Counter(line["outcome"] for line in lines)),
        "resumes": sum(line["resumes"] for line in lines),
        "decisions": sum(len(line["decisions"]) for line in lines),
        "trainings": sum(line["trainings"] for line in lines),
        "crashed_reservations": sum(line["crashed_reservations"] for line in lines),
        "faults": _by_fault(lines),
        "kills": _sorted(Counter(f"{_whose(o)} {o['point']}" for o in kills)),
        "seconds": round(sum(line["seconds"] for line in lines), 1),
    }


def _by_fault(lines: list[Line]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for line in lines:
        for operation in line["happened"]:
            found.setdefault(_name(operation), Counter())["happened"] += 1
        for name in sorted({_name(operation) for operation in line["happened"]}):
            found[name].update(["runs", line["outcome"].partition(":")[0]])
            found[name]["violations"] += len(line["violations"])
    shown = ("happened", "runs", COMPLETE, RESUMED, STOPPED, "violations")
    return {name: {part: found[name][part] for part in shown} for name in sorted(found)}


def _name(operation: Line) -> str:
    if operation["fault"] in ("kill", "disk full", "clock"):
        return f"{operation['fault']}, {_whose(operation)}"
    return str(operation["fault"])


def _whose(operation: Line) -> str:
    return COORDINATOR if operation["party"] == COORDINATOR else "site"


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def table(result: Line) -> list[str]:
    """The result as a table in Markdown: a line for each fault, and one for all runs."""
    outcomes: Counter[str] = Counter()
    for outcome, runs in result["outcomes"].items():
        outcomes[outcome.partition(":")[0]] += runs
    total = {"happened": result["happened"], "runs": result["runs"], **outcomes}
    total["violations"] = len(result["violations"])
    rows = [*result["faults"].items(), ("all", total)]
    columns = ("happened", "runs", COMPLETE, RESUMED, STOPPED, "violations")
    return [
        f"| fault | {' | '.join(columns)} |",
        f"|---|{'---|' * len(columns)}",
        *(
            f"| {name} | {' | '.join(f'{row.get(column, 0):,}' for column in columns)} |"
            for name, row in rows
        ),
    ]


@contextmanager
def _progress(console: Console, runs: int) -> Iterator[Any]:
    """A bar with the time left on a terminal, else a line for each tenth."""
    columns = (
        TextColumn("run {task.completed} of {task.total}"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("runs", total=runs)
        first: list[tuple[int, float]] = []

        def told(done: int) -> None:
            bar.update(task, completed=done)
            first.append((done, time.monotonic()))
            (began, since), (_, now) = first[0], first[-1]
            if not console.is_terminal and done > began and done % max(1, runs // 10) == 0:
                left = (now - since) / (done - began) * (runs - done)
                console.print(f"run {done} of {runs}, {formats.duration(left)} left")

        yield told
