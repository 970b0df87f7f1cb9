"""A study on the coordinator's disk: charter, settings, and a checkpoint after every round.

    STUDY/charter.json, initial.safetensors     what the sites approve
    STUDY/coordinator.key                       the key that signs charter, requests and receipts
    STUDY/study.toml                            where the base model and the public evaluation set lie
    STUDY/rounds/0003.safetensors, 0003.json    tensors and record of round 3
    STUDY/outcome.json                          how the study ended

A round counts once its `.json` is there: it is written last, atomically, and names the digest of the
tensors. Round 0 is the start.
"""

import fcntl
import json
import os
import time
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedward_shared import canonical, tensors
from fedward_shared import charter as charters
from fedward_shared.charter import Charter
from fedward_shared.errors import AdapterError, StateError, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.report import RoundRecord
from fedward_shared.tensors import Arrays, Tensors
from fedward_shared.terms import describe

STUDY_FILE = "study.toml"
OUTCOME_FILE = "outcome.json"
LOCK_FILE = "lock"
LOCK_POLL_SECONDS = 0.2
ADAPTER = "adapter."
OPTIMIZER = "optimizer."
NOBODY: Mapping[str, int] = MappingProxyType({})


class StartSettings(BaseModel):
    """How the tensors that a study starts from are made, when its charter is signed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public: Path | None = None
    aimed: bool = False
    name_length: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    seed: int = 0


class StudySettings(BaseModel):
    """`study.toml`: what concerns the coordinator alone, with paths relative to its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Path = Path("coordinator.key")
    poll_seconds: Annotated[float, Field(gt=0)] = 1.0
    gather_seconds: Annotated[float, Field(ge=0)] = 60.0
    lock_seconds: Annotated[float, Field(ge=0)] = 30.0

    def within(self, folder: Path) -> Self:
        """The same, with paths that are whole."""
        return self.model_copy(update={"key": folder / self.key})


class RoundsSettings(StudySettings):
    """Those of a study that goes in rounds.

    `largest_loss`: what a masked round may make of the loss on the evaluation set, as a multiple of what
    it was after the round before; a sum that makes more of it is not taken.
    """

    base_model: Path
    evaluation: Path | None = None
    evaluate: Literal["every-round", "last-round"] = "every-round"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    largest_loss: Annotated[float, Field(gt=1)] = 3.0
    start: StartSettings = StartSettings()

    def within(self, folder: Path) -> Self:
        """The same, with paths that are whole."""
        public = self.start.public and folder / self.start.public
        paths = {
            "base_model": folder / self.base_model,
            "evaluation": self.evaluation and folder / self.evaluation,
            "start": self.start.model_copy(update={"public": public}),
        }
        return super().within(folder).model_copy(update=paths)


AnySettings = TypeVar("AnySettings", bound=StudySettings)


def read_settings(folder: Path, model: type[AnySettings]) -> AnySettings:
    """`study.toml` in `folder`, its paths made whole. Raises UsageError."""
    path = folder / STUDY_FILE
    try:
        settings = model.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error)}") from error
    return settings.within(folder)


class Checkpoint(BaseModel):
    """What is known after a round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    charter: str
    tensors: str
    record: RoundRecord | None
    updates: dict[str, str]
    heads: dict[str, str] = {}
    made_for: dict[str, int] = {}
    """Site → the round that its update was made for, where that is an earlier one."""
    late: dict[str, int] = {}
    """Site → the round that it was asked for; its update counts in the next one."""
    checksum: str = ""
    """Digest of all other fields, as `computed` gives it."""

    @property
    def computed(self) -> str:
        """What `checksum` has to be. Releases before there were late updates wrote no such fields."""
        empty = {name for name in ("made_for", "late") if not getattr(self, name)}
        return canonical.digest(self.model_dump_json(exclude={"checksum"} | empty).encode())


class Study:
    """The study in `folder`. Raises CharterError, UsageError or StateError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.charter: Charter
        self.charter, self._initial = charters.load(folder)
        self.settings = read_settings(folder, RoundsSettings)
        self.history: list[Checkpoint] = []
        self._content: Arrays = {}
        self._moved: tuple[Tensors, Tensors] | None = None

    @cached_property
    def initial(self) -> Tensors:
        """What the study starts from."""
        return tensors.from_arrays(self._initial)

    @property
    def adapter(self) -> Tensors:
        """After the last round, once there is one."""
        return self._state[0]

    @property
    def optimizer_state(self) -> Tensors:
        """After the last round, once there is one."""
        return self._state[1]

    @property
    def _state(self) -> tuple[Tensors, Tensors]:
        """Adapter and optimiser state; made of the checkpoint's numbers by who asks for them first."""
        if self._moved is None:
            content = tensors.from_arrays(self._content)
            self._moved = _below(content, ADAPTER), _below(content, OPTIMIZER)
        return self._moved

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint; `read` has to be called before."""
        return bool(self.history)

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        return f"{self.rounds_done} of {self.charter.training.rounds} rounds"

    @property
    def account(self) -> list[str]:
        """What became of every finished round, in lines for people."""
        return [line for record in self.records for line in in_words(record)]

    def let_go(self) -> None:
        """Nothing holds the sites: each finishes what it was asked for."""

    @property
    def rounds_done(self) -> int:
        """How many rounds are complete."""
        return max(0, len(self.history) - 1)

    @property
    def records(self) -> list[RoundRecord]:
        """The records of all finished rounds."""
        return [kept.record for kept in self.history if kept.record is not None]

    def start(self, first: Tensors) -> None:
        """Resumes from the last checkpoint, or writes the one of round 0 with `first`.

        Raises StateError as `read` does.
        """
        self.read()
        if not self.history:
            self._moved = first, {}
            self._write(0, None, {}, {})
        try:
            tensors.check(self.adapter, tensors.schema_of(first), str(self._folder))
        except AdapterError as error:
            raise StateError(str(error)) from error

    def read(self) -> None:
        """Takes the state of the last checkpoint, if there is one.

        Raises StateError for a checkpoint that is damaged or of another charter; a study never
        starts afresh instead.
        """
        self.history = []
        for number in range(self._last_round() + 1):
            path = self._path(number, ".json")
            if not path.is_file():
                raise StateError(f"{path}: this checkpoint is missing")
            self.history.append(self._read(path))
        if self.history:
            self._content, self._moved = self._tensors(len(self.history) - 1), None

    def _last_round(self) -> int:
        """The last round whose record has to be there, -1 for none: its tensors come before it."""
        files = [path for path in self._folder.glob("[0-9]*") if path.stem.isdigit()]
        records = [int(path.stem) for path in files if path.suffix == ".json"]
        content = [int(path.stem) for path in files if path.suffix == ".safetensors"]
        return max([*records, *(number - 1 for number in content)], default=-1)

    @property
    def is_complete(self) -> bool:
        """Whether every round of the charter is in a checkpoint; `read` has to be called before."""
        return self.rounds_done == self.charter.training.rounds

    def _read(self, path: Path) -> Checkpoint:
        try:
            kept = Checkpoint.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise StateError(f"{path}: the checkpoint is damaged: {describe(error)}") from error
        if kept.checksum != kept.computed:
            raise StateError(f"{path}: the checkpoint is damaged: its checksum is another one")
        if kept.charter != self.charter.digest:
            raise StateError(f"{path}: the checkpoint belongs to another charter, {kept.charter}")
        return kept

    def _tensors(self, number: int) -> Arrays:
        path = self._path(number, ".safetensors")
        try:
            data = path.read_bytes()
            if canonical.digest(data) != self.history[number].tensors:
                raise StateError(f"{path}: the checkpoint is damaged: its digest is another one")
            content = tensors.arrays(data, str(path))
        except (FileNotFoundError, AdapterError) as error:
            raise StateError(f"{path}: the checkpoint is damaged: {error}") from error
        return content

    def adapter_before(self, number: int) -> Tensors:
        """The adapter that round `number` starts from. Raises StateError for a damaged checkpoint."""
        if number == self.rounds_done + 1:
            return self.adapter
        return _below(tensors.from_arrays(self._tensors(number - 1)), ADAPTER)

    def finish_round(
        self,
        adapter: Tensors,
        optimizer_state: Tensors,
        record: RoundRecord,
        updates: dict[str, str],
        heads: dict[str, str],
        made_for: Mapping[str, int] = NOBODY,
        late: Mapping[str, int] = NOBODY,
    ) -> None:
        """Makes a round's outcome durable. Raises StateError where it cannot be written.

        `updates` maps each site to its update's digest, `heads` to the head of its audit log; `made_for`
        and `late` are as a `Checkpoint` has them.
        """
        self._moved = adapter, optimizer_state
        self._write(record.round, record, updates, heads, made_for, late)

    def _write(
        self,
        number: int,
        record: RoundRecord | None,
        updates: dict[str, str],
        heads: dict[str, str],
        made_for: Mapping[str, int] = NOBODY,
        late: Mapping[str, int] = NOBODY,
    ) -> None:
        content = {ADAPTER + name: tensor for name, tensor in self.adapter.items()}
        content |= {OPTIMIZER + name: tensor for name, tensor in self.optimizer_state.items()}
        data = tensors.encode(content)
        keep(self._path(number, ".safetensors"), data)
        kept = Checkpoint(
            charter=self.charter.digest,
            tensors=canonical.digest(data),
            record=record,
            updates=updates,
            heads=heads,
            made_for=dict(made_for),
            late=dict(late),
        )
        kept = kept.model_copy(update={"checksum": kept.computed})
        keep(self._path(number, ".json"), kept.model_dump_json(indent=2).encode())
        self.history.append(kept)

    @property
    def _folder(self) -> Path:
        return self.folder / "rounds"

    def _path(self, number: int, suffix: str) -> Path:
        return self._folder / f"{number:04d}{suffix}"


def end(folder: Path, outcome: str, exit_code: int) -> None:
    """Says how the study in `folder` ended, for `fedward study` to tell. Raises StateError."""
    content = {"outcome": outcome, "exit_code": exit_code}
    keep(folder / OUTCOME_FILE, json.dumps(content, indent=2).encode())


def in_words(record: RoundRecord) -> Iterator[str]:
    """What became of a round, in lines for people: who counted, who was missing and who was lost."""
    scores = ", ".join(f"{name} {value:.3f}" for name, value in record.metrics.items())
    what = f"abandoned: {record.abandoned}" if record.abandoned else ", ".join(record.cohort)
    yield f"  round {record.round}: {what}; {scores}"
    for site, reason in record.missing.items():
        yield f"    {site}: {reason}"
    for site, stage in record.dropped.items():
        if site not in record.missing:
            yield f"    {site}: counted, and lost afterwards ({stage})"


class StudyLock:
    """One coordinating process for each study.

    Waits a while for the process before it: a ServerApp that was stopped lives on for some seconds.
    Raises StateError if another one still holds it then.
    """

    def __init__(self, folder: Path, patience: float) -> None:
        self._path = folder / LOCK_FILE
        self._patience = patience

    def __enter__(self) -> None:
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o644)
        until = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    os.close(self._file)
                    raise StateError(
                        f"{self._path}: another process coordinates this study"
                    ) from error
            time.sleep(LOCK_POLL_SECONDS)

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def keep(path: Path, data: bytes) -> None:
    """Writes `data`, wholly or not at all. Raises StateError."""
    try:
        write_atomically(path, data)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written: {error.strerror}; make room, then resume the study"
        ) from error


def _below(content: Tensors, prefix: str) -> Tensors:
    return {n.removeprefix(prefix): t for n, t in content.items() if n.startswith(prefix)}
