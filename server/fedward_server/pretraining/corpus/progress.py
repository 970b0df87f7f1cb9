"""How far a corpus has come: what is kept of it beside its shards, and goes when it is made.

    survey.json                  what was read of every source
    SOURCE-00000.reached.json    where the next shard of a source begins

Each is whole or not there, and follows what it speaks of.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from fedward_server.pretraining.corpus.store import Shard
from fedward_shared import canonical
from fedward_shared.errors import StateError
from fedward_shared.files import write_atomically
from fedward_shared.terms import Terms, describe

T = TypeVar("T", bound=Terms)

SURVEY, LOCK = "survey.json", "lock"


class Surveyed(Terms):
    """What the survey found of a source."""

    read: int
    documents: int
    refused: dict[str, int]
    places: tuple[str, ...]


class Survey(Terms):
    """What it found of all, by their names."""

    sources: dict[str, Surveyed]


class Reached(Terms):
    """A shard that is there, and where what follows it begins; counts are those of all before that."""

    shard: Shard
    file: int
    record: int
    number: int
    kept: int
    left_out: dict[str, int]
    last: bool


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Raises StateError while another process makes the corpus."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateError(f"{folder}: another process is making this corpus") from error
        yield
    finally:
        os.close(lock)


def sweep(folder: Path) -> None:
    """Deletes what a process was writing when it was killed."""
    for path in [*folder.glob(".*.tokens.*"), *folder.glob(".*.json.*")]:
        path.unlink()


def _place(folder: Path, source: str, number: int) -> Path:
    return folder / f"{source}-{number:05}.reached.json"


def reached(folder: Path, source: str) -> list[Reached]:
    """The shards of a source that are there, up to the first that is not. Raises StateError."""
    states: list[Reached] = []
    while (path := _place(folder, source, len(states))).exists():
        states.append(_read(path, Reached))
    return states


def keep_reached(folder: Path, source: str, number: int, state: Reached) -> None:
    """That shard `number` of a source is there."""
    write_atomically(_place(folder, source, number), _content(state))


def keep_survey(folder: Path, survey: Survey) -> None:
    """That every source was read."""
    write_atomically(folder / SURVEY, _content(survey))


def clear(folder: Path) -> None:
    """Deletes all of it."""
    (folder / SURVEY).unlink(missing_ok=True)
    for path in folder.glob("*-*.reached.json"):
        path.unlink()


def survey_in(folder: Path) -> Survey | None:
    """What the survey found, if it was made. Raises StateError for a damaged file."""
    path = folder / SURVEY
    return _read(path, Survey) if path.exists() else None


def _read(path: Path, kind: type[T]) -> T:
    try:
        return kind.model_validate(canonical.decode(path.read_bytes()))
    except (ValidationError, ValueError) as error:
        why = describe(error) if isinstance(error, ValidationError) else error
        raise StateError(
            f"{path}: damaged: {why}; delete the folder and make the corpus again"
        ) from error


def _content(terms: Terms) -> bytes:
    return canonical.encode(terms.model_dump(mode="json"))
