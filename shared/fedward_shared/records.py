"""Files of records: JSONL, CSV or Parquet with one column per role of a task.

All columns are read as text, a CSV's as it stands there: an id like 007 keeps its zeros.
"""

import io
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from fedward_shared import canonical
from fedward_shared.errors import DataError
from fedward_shared.files import write_atomically

READERS: dict[str, Callable[[io.BytesIO], pl.DataFrame]] = {
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
    ".csv": partial(pl.read_csv, infer_schema=False),
    ".parquet": pl.read_parquet,
}
NOTHING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What people write where there is nothing, in lower case."""


def normalised(text: str) -> str:
    """What is left of a text without letter case, white space and the forms of its characters."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True)
class LeftOut:
    """Whose records are left out: the column that names the owner of a record, and these owners.

    Owners are compared as `normalised`. Ids that a file writes with a decimal point are refused: they
    would be taken for others.
    """

    column: str
    owners: frozenset[str]

    @classmethod
    def of(cls, column: str, owners: Iterable[str]) -> "LeftOut":
        """Leaves out the records of `owners`."""
        return cls(column, frozenset(normalised(owner) for owner in owners))

    @property
    def digest(self) -> str:
        """The same for the same people and column."""
        return canonical.digest(canonical.encode([self.column, sorted(self.owners)]))

    def without(self, path: Path, table: pl.DataFrame) -> pl.DataFrame:
        """The records in `table`, of the file `path`, that stay. Raises DataError if none does."""
        owners = texts(path, table, self.column, "owner")
        kept = table.filter(pl.Series([normalised(owner) not in self.owners for owner in owners]))
        if not kept.height:
            raise DataError(f"{path}: the owners of all records have objected")
        return kept


def read(path: Path, roles: Sequence[str], columns: Mapping[str, str]) -> dict[str, list[str]]:
    """The column of each role, as strings. Raises DataError as `read_bytes` and `parse` do."""
    return parse(path, read_bytes(path), roles, columns)


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises DataError for a file that is missing, empty or of no known kind."""
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: its ending is none of {', '.join(READERS)}")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not content:
        raise DataError(f"{path}: the file is empty")
    return content


def parse(
    path: Path, content: bytes, roles: Sequence[str], columns: Mapping[str, str]
) -> dict[str, list[str]]:
    """The column of each role in `content`, the bytes of `path`; `columns` maps roles to columns.

    Raises DataError as `table` and `texts` do.
    """
    return by_role(path, table(path, content), roles, columns)


def by_role(
    path: Path, table: pl.DataFrame, roles: Sequence[str], columns: Mapping[str, str]
) -> dict[str, list[str]]:
    """The column of each role in `table`. Raises DataError as `texts` does."""
    return {role: texts(path, table, columns.get(role, role), role) for role in roles}


def table(path: Path, content: bytes) -> pl.DataFrame:
    """The records in `content`, the bytes of `path`.

    Raises DataError that names the file for bytes that are not UTF-8 or not of the file's kind, or hold
    no records.
    """
    kind = path.suffix.lower()
    if kind != ".parquet":
        _check_utf8(path, content)
    try:
        found = READERS[kind](io.BytesIO(content))
    except (pl.exceptions.PolarsError, ValueError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as {kind}: {reason}") from error
    if found.height == 0:
        raise DataError(f"{path}: the file holds no records")
    return found


def texts(path: Path, table: pl.DataFrame, column: str, role: str) -> list[str]:
    """A column of `table`, which was read from `path`, as strings.

    Raises DataError that names the file and the column if it is not there, holds no text, or lacks a
    value.
    """
    _check_column(path, table, column, role)
    if role == "owner" and table[column].dtype.is_float():
        raise DataError(
            f"{path}: column {column!r} holds numbers with a decimal point, which are no ids of owners"
        )
    values = _as_text(path, table[column])
    if values.null_count():
        row = int(values.is_null().arg_max() or 0) + 1
        raise DataError(f"{path}: column {column!r} has no text in record {row}")
    return values.to_list()


def given(path: Path, table: pl.DataFrame, column: str) -> list[str | None]:
    """A column of `table` as strings, None where nothing is. Raises DataError as `texts` does."""
    _check_column(path, table, column, "a study")
    return _as_text(path, table[column]).to_list()


def _check_column(path: Path, table: pl.DataFrame, column: str, role: str) -> None:
    if column not in table.columns:
        raise DataError(
            f"{path}: no column {column!r} (for {role}); it has {', '.join(table.columns)}"
        )


def owners(path: Path, table: pl.DataFrame, column: str) -> np.ndarray:
    """Whose each record of `table` is: numbers from 0 on, in the order of their first records, [N].

    Two records are of one owner if their texts in `column` are the same, `normalised`. Raises DataError
    that names the file and the record for a column that is not there or holds neither text nor whole
    numbers, or a record that names nobody.
    """
    if column in table.columns and (missing := table[column].is_null()).any():
        row = int(missing.arg_max() or 0) + 1
        raise DataError(f"{path}: column {column!r} (for owner) names nobody in record {row}")
    numbers: dict[str, int] = {}
    found = [normalised(name) for name in texts(path, table, column, "owner")]
    if "" in found:
        row = found.index("") + 1
        raise DataError(f"{path}: column {column!r} (for owner) names nobody in record {row}")
    return np.array([numbers.setdefault(name, len(numbers)) for name in found], dtype=np.int64)


def _as_text(path: Path, column: pl.Series) -> pl.Series:
    refusal = DataError(f"{path}: column {column.name!r} holds {column.dtype}, which is no text")
    if column.dtype.is_nested():
        raise refusal  # some of these polars would write down in a notation of its own
    try:
        return column.cast(pl.String, strict=False)
    except pl.exceptions.PolarsError as error:
        raise refusal from error


def _check_utf8(path: Path, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line} is not UTF-8; convert the file") from error


def write_jsonl(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Writes one JSON object for each record, its keys being the columns' names."""
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    lines = (json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows)
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
