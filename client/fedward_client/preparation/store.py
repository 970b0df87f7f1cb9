"""The folder of a prepared dataset: what is for people, and in `work` what a crash goes on from.

    records.jsonl       text, label, code, kind, date, owner and quality of each record, as far as known
    labelled.jsonl      the records that have a label
    documents.jsonl     every document that was read, by number: where it stood, and what became of it
    pictures.jsonl      the same of each picture: image (a PNG file in base64) instead of text
    frames.jsonl        every picture that was read, by number, as documents.jsonl
    alike.jsonl         documents of different owners that are alike, by number
    files.jsonl         the files that were read, with their SHA-256
    quarantine.jsonl    the files of which nothing is used, with the reason
    remarks.jsonl       what readers left out of the files that they read
    report.json         all that, counted; written last
    work/               for the site alone: run R has a listing, what was read, what became of it

Everything is for its owner alone. Files are replaced as wholes, and follow from what is in `work`: a
process that is killed anywhere leaves what the next one goes on from.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from fedward_shared import canonical
from fedward_shared.errors import StateError, UsageError
from fedward_shared.files import write_atomically, written_atomically

RECORDS = "records.jsonl"
LABELLED = "labelled.jsonl"
DOCUMENTS = "documents.jsonl"
ALIKE = "alike.jsonl"
PICTURES = "pictures.jsonl"
FRAMES = "frames.jsonl"
FILES = "files.jsonl"
QUARANTINE = "quarantine.jsonl"
REMARKS = "remarks.jsonl"
REPORT = "report.json"
OURS = 0o600


class Store:
    """The folder, held by one process. Raises UsageError for a folder of something else, StateError for
    one that was begun under other `terms`, is damaged, or is in use."""

    def __init__(self, folder: Path, terms: Mapping[str, Any]) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.index = self.work / "index"
        place = self.work / "terms.json"
        if _is_of_others(folder):
            raise UsageError(f"{folder}: is there already, and is no dataset of fedward")
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        self._lock = os.open(self.work / "lock", os.O_RDWR | os.O_CREAT, OURS)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check(place, terms)
            self._sweep()
        except BlockingIOError:
            self.close()
            raise StateError(f"{folder}: another process is preparing it") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process have the folder."""
        os.close(self._lock)

    @staticmethod
    def _check(place: Path, terms: Mapping[str, Any]) -> None:
        if not place.exists():
            write_atomically(place, canonical.encode(terms), OURS)
            return
        begun = read(place)
        other = sorted(name for name in {*begun, *terms} if begun.get(name) != terms.get(name))
        if other:
            told = "; ".join(
                f"{name} was {begun.get(name)}, now {terms.get(name)}" for name in other
            )
            raise StateError(f"{place}: begun under other terms ({told}); take another folder")

    def _sweep(self) -> None:
        """Deletes what a process that was killed has half written."""
        for path in [*self.work.glob(".*"), *self.folder.glob(".*.jsonl.*")]:
            path.unlink()

    def forget(self) -> None:
        """Deletes what was read in runs that are done: there are the names of people in it."""
        report = self.report()
        for run in range(1, (report["runs"] if report else 0) + 1):
            for segment in (*self.read_segments(run), *self.seen_segments(run)):
                segment.unlink()

    def listing(self, run: int) -> Path:
        """The files of a run."""
        return self.work / f"listing-{run:04}.json"

    def read_segment(self, run: int, number: int) -> Path:
        """What was in some files of a run."""
        return self.work / f"read-{run:04}-{number:06}"

    def seen_segment(self, run: int, number: int) -> Path:
        """The pictures in some files of a run."""
        return self.work / f"seen-{run:04}-{number:06}"

    def keys(self, run: int) -> Path:
        """Digests of a run's pictures."""
        return self.work / f"keys-{run:04}"

    def events(self, run: int) -> Path:
        """How the files of a run went; from then on all are read."""
        return self.work / f"files-{run:04}"

    def done_segment(self, run: int, number: int) -> Path:
        """What became of some documents of a run."""
        return self.work / f"done-{run:04}-{number:06}"

    def shown_segment(self, run: int, number: int) -> Path:
        """What became of some pictures of a run."""
        return self.work / f"shown-{run:04}-{number:06}"

    def read_segments(self, run: int) -> list[Path]:
        """Those that are there, in order."""
        return sorted(self.work.glob(f"read-{run:04}-*"))

    def seen_segments(self, run: int) -> list[Path]:
        """Those that are there, in order."""
        return sorted(self.work.glob(f"seen-{run:04}-*"))

    def shown_segments(self) -> list[Path]:
        """Of all runs, in order."""
        return sorted(self.work.glob("shown-*"))

    def done_segments(self) -> list[Path]:
        """Of all runs, in order."""
        return sorted(self.work.glob("done-*"))

    @property
    def runs(self) -> int:
        """How many have begun."""
        return len(list(self.work.glob("listing-*.json")))

    def report(self) -> dict[str, Any] | None:
        """The report of the runs that are done; None where none is."""
        path = self.folder / REPORT
        return read(path) if path.exists() else None

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """One of the files for people, which is replaced when it is whole."""
        with written_atomically(self.folder / name, OURS) as file:
            yield file


def _is_of_others(folder: Path) -> bool:
    """A process that was killed before its first words leaves an empty folder `work`."""
    if not folder.is_dir():
        return folder.exists()
    return {path.name for path in folder.iterdir()} - {"work"} != set() and not (
        folder / "work" / "terms.json"
    ).exists()


def read(path: Path) -> Any:
    """A JSON file of ours. Raises StateError if it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: damaged; prepare anew into another folder") from error


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of ours. Raises StateError if one is damaged."""
    try:
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: damaged; prepare anew into another folder") from error


def row(value: Mapping[str, Any]) -> bytes:
    """A line of such a file."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
