"""The diary of a training: one JSON line for each thing that happens. All curves are drawn from it.

    {"kind": "begun", …}        a process opened it
    {"kind": "step", …}         and evaluation, checkpoint, treatment, notice

Lines are only ever added. The line of a step supersedes those before it that are of this step or of a
later one: after a kill, or when the doctor went back, nobody has to say from where it went on, and the
course that was left is still there to be seen. Numbers that are not finite are the strings "NaN",
"Infinity" and "-Infinity", since JSON has none.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from fedward_server.pretraining.doctor import Treatment
from fedward_server.pretraining.monitoring.figures import TREATMENTS, Machine, name_of
from fedward_server.pretraining.reports import EvaluationReport, StepReport
from fedward_shared.errors import DataError, StateError
from fedward_shared.terms import describe

FILE = "diary.jsonl"
FORMAT = "fedward/pretraining-diary/1"
LONGEST = 1 << 20
"""Bytes of a line. Those of an evaluation of a thousand sources are a tenth of it."""


_BEGINNING = b'{"kind": "begun", '


class Begun(NamedTuple):
    """A process began, or went on with it, at `at` (seconds since 1970)."""

    at: float
    format: str
    workers: int
    device: str
    token_flops: float
    peak_flops: float | None


class Kept(NamedTuple):
    """A checkpoint after `step` steps, which took `seconds` to write."""

    step: int
    seconds: float


class Treated(NamedTuple):
    """What the doctor did before `step`, by its name in figures.TREATMENTS, and why."""

    step: int
    name: str
    reason: str


@dataclass
class Record:
    """What a diary says: the course that the training took, and beside it the courses that it left."""

    begun: list[Begun] = field(default_factory=list)
    steps: list[StepReport] = field(default_factory=list)
    left: list[list[StepReport]] = field(default_factory=list)
    evaluations: list[EvaluationReport] = field(default_factory=list)
    checkpoints: list[Kept] = field(default_factory=list)
    treatments: list[Treated] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def add(self, told: Any) -> None:
        """What the next line says."""
        match told:
            case StepReport():
                self._supersede(told.step)
                self.steps.append(told)
            case EvaluationReport():
                self.evaluations.append(told)
            case Kept():
                self.checkpoints.append(told)
            case Treated():
                self.treatments.append(told)
            case Begun():
                self.begun.append(told)
            case str():
                self.notices.append(told)

    def _supersede(self, step: int) -> None:
        """What was evaluated and kept after `step` steps came before the step of that number."""
        place = len(self.steps)
        while place and self.steps[place - 1].step >= step:
            place -= 1
        if place < len(self.steps):
            self.left.append(self.steps[place:])
            del self.steps[place:]
        for kept in (self.evaluations, self.checkpoints):
            while kept and kept[-1].step > step:
                kept.pop()


class Diary:
    """Writes the diary at `path`, going on with the one that is there. A watcher.

    A line that a kill cut off is taken away first. Raises StateError if `path` is something else, or
    cannot be written.
    """

    def __init__(self, path: Path, machine: Machine) -> None:
        try:
            self._file = path.open("a+b", buffering=0)
            _mend(path, self._file)
        except OSError as error:
            raise StateError(f"{path}: the diary cannot be opened: {error.strerror}") from error
        self._write("begun", format=FORMAT, **machine._asdict())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def step(self, report: StepReport) -> None:
        """Writes it down."""
        self._write("step", **report._asdict())

    def evaluation(self, report: EvaluationReport) -> None:
        """Writes it down."""
        self._write("evaluation", **report._asdict())

    def treatment(self, step: int, treatment: Treatment) -> None:
        """Writes down what is done, and why."""
        self._write("treatment", step=step, name=name_of(treatment), **treatment._asdict())

    def checkpoint(self, step: int, seconds: float) -> None:
        """Writes it down; the lines before it survive what the checkpoint survives."""
        self._write("checkpoint", step=step, seconds=seconds)
        os.fsync(self._file.fileno())

    def notice(self, text: str) -> None:
        """Writes it down."""
        self._write("notice", text=text)

    def _write(self, kind: str, **content: object) -> None:
        """One write for one line: whole, or the last one."""
        told = _finite({"kind": kind, "at": round(time.time(), 3)} | content)
        line = json.dumps(told, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        if self._file.write(line) != len(line):
            raise OSError(f"{self._file.name}: the disk is full")


def read(path: Path) -> Record:
    """What the diary at `path` says, whether or not somebody is writing it.

    Raises DataError that names the line which is none.
    """
    record = Record()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                try:
                    record.add(_parsed(line))
                except ValidationError as error:
                    raise DataError(f"{path}: line {number}: {describe(error)}") from error
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(f"{path}: line {number}: not of a diary: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not record.begun or record.begun[0].format != FORMAT:
        raise DataError(f"{path}: not the diary of a pretraining in the format {FORMAT}")
    return record


_SHAPES: dict[str, TypeAdapter[Any]] = {
    "begun": TypeAdapter(Begun),
    "step": TypeAdapter(StepReport),
    "evaluation": TypeAdapter(EvaluationReport),
    "checkpoint": TypeAdapter(Kept),
}


def _parsed(line: bytes) -> Any:
    content = from_json(line)
    kind, at = content.pop("kind"), content.pop("at")
    match kind:
        case "begun":
            return _SHAPES[kind].validate_python(content | {"at": at})
        case "treatment":
            step, name = content.pop("step"), content.pop("name")
            treatment = TypeAdapter(TREATMENTS[name]).validate_python(content)
            return Treated(int(step), name, treatment.reason)
        case "notice":
            return str(content["text"])
        case _:
            return _SHAPES[kind].validate_python(content)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """All but a last one without an end, which is being written, or was cut off."""
    while (line := file.readline(LONGEST)).endswith(b"\n"):
        yield line
    if len(line) == LONGEST:
        yield line  # which is no JSON, and so told of


def _mend(path: Path, file: Any) -> None:
    """Takes away what follows the last end of a line."""
    file.seek(0)
    first = file.readline(LONGEST)
    cut = not first.endswith(b"\n") and _BEGINNING.startswith(first[: len(_BEGINNING)])
    if FORMAT.encode() not in first and not cut:
        raise StateError(
            f"{path}: not the diary of a pretraining; take it away or name another run"
        )
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - LONGEST)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        end = start + place + 1 if place >= 0 else start
        if place >= 0:
            break
    if end < size:
        file.truncate(end)


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {key: _finite(each) for key, each in value.items()}
        case _:
            return value
