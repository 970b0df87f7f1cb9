"""What is kept of documents that were compared: a folder that is whole after any batch, or as before it.

Files grow at their ends, runs of keys are written once; `shelf.json`, which is replaced as a whole, says
how much of them counts. What a process left that was killed in the middle is cut off by the next.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedward_shared.errors import StateError
from fedward_shared.files import write_atomically
from fedward_shared.text.runs import Runs
from fedward_shared.text.signatures import BANDS

DOCUMENT = np.dtype([("unit", "<u8", 2), ("start", "<u8"), ("size", "<u4"), ("instead", "<u4")])
"""A document: whose it is, where its shingles lie (none of one that its own unit has already), and its
own number where it stays, else that of the one it was left out for."""

LINK = np.dtype([("later", "<u4"), ("earlier", "<u4"), ("similarity", "<f4")])
"""Two documents of different units that are alike, by number, and their Jaccard similarity."""

_MANIFEST = "shelf.json"
_LOCK = "lock"
_TABLES = {"documents": DOCUMENT, "shingles": np.dtype("<u4"), "links": LINK}


class Shelf:
    """The folder. Raises StateError if it was made under other `terms`, is damaged, or is in use."""

    def __init__(self, folder: Path, terms: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._terms = dict(terms)
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._counts, runs = self._manifest()
            self.within = Runs(folder, "within", BANDS, runs["within"])
            self.across = Runs(folder, "across", BANDS, runs["across"])
            self._sweep()
        except OSError as error:
            self.close()
            raise StateError(f"{folder}: in use by another process, or not readable") from error
        except StateError:
            self.close()
            raise

    def close(self) -> None:
        """Lets another process have the folder."""
        os.close(self._lock)

    def count(self, table: str) -> int:
        """How many entries of `table` count."""
        return self._counts[table]

    def table(self, table: str) -> np.ndarray:
        """`documents`, `shingles` or `links`, as they lie on disk, read as they are asked for."""
        count = self._counts[table]
        if not count:
            return np.empty(0, _TABLES[table])
        return np.memmap(self._path(table), _TABLES[table], "r", shape=(count,)).view(np.ndarray)

    def commit(self, tables: Mapping[str, np.ndarray]) -> None:
        """Appends to tables, and makes this and what runs were given since the last commit count."""
        counts = dict(self._counts)
        for table, entries in tables.items():
            with self._path(table).open("ab") as file:
                file.write(entries.tobytes())
                file.flush()
                os.fsync(file.fileno())
            counts[table] += len(entries)
        content = {
            "terms": self._terms,
            "counts": counts,
            "runs": {"within": self.within.names, "across": self.across.names},
        }
        write_atomically(self._folder / _MANIFEST, json.dumps(content, indent=1).encode(), 0o600)
        self._counts = counts
        self._sweep()

    def _path(self, table: str) -> Path:
        return self._folder / f"{table}.bin"

    def _manifest(self) -> tuple[dict[str, int], dict[str, list[str]]]:
        path = self._folder / _MANIFEST
        if not path.exists():
            return dict.fromkeys(_TABLES, 0), {"within": [], "across": []}
        try:
            content = json.loads(path.read_bytes())
            terms, counts, runs = content["terms"], content["counts"], content["runs"]
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{path}: damaged; delete the folder and prepare anew") from error
        if terms != self._terms:
            raise StateError(f"{path}: made under {terms}, not {self._terms}; take another folder")
        return counts, runs

    def _sweep(self) -> None:
        """Cuts off and deletes what does not count."""
        for table, dtype in _TABLES.items():
            path, size = self._path(table), self._counts[table] * dtype.itemsize
            path.touch(0o600)
            if path.stat().st_size < size:
                raise StateError(f"{path}: cut off; delete the folder and prepare anew")
            if path.stat().st_size > size:
                os.truncate(path, size)
        counting = {*self.within.names, *self.across.names}
        for path in [*self._folder.glob("within-*"), *self._folder.glob("across-*")]:
            if path.name not in counting:
                path.unlink()
