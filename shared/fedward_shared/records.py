"""Files of records: JSONL, CSV or Parquet with one column per role of a task."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from fedward_shared.errors import DataError
from fedward_shared.files import write_atomically

READERS: dict[str, Callable[[io.BytesIO], pl.DataFrame]] = {
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
    ".csv": partial(pl.read_csv, infer_schema=False),
    ".parquet": pl.read_parquet,
}


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

    Raises DataError that names the file and the field for bytes that are not UTF-8 or not of the
    file's kind, a column that is not there or holds no text, or a value that is missing.
    """
    table = _table(path, content)
    found = {}
    for role in roles:
        column = columns.get(role, role)
        values = _as_text(path, _column(path, table, column, role))
        if values.null_count():
            row = int(values.is_null().arg_max() or 0) + 1
            raise DataError(f"{path}: column {column!r} has no text in record {row}")
        found[role] = values.to_list()
    return found


def owners(path: Path, content: bytes, column: str) -> np.ndarray:
    """Whose each record is: numbers from 0 on, in the order of their first records, [N].

    Two records are of one owner if their texts in `column` are equal but for white space around them.
    Raises DataError that names the file and the record for bytes that cannot be read, a column that is
    not there or holds neither text nor whole numbers, or a record that names nobody.
    """
    values = _column(path, _table(path, content), column, "owner")
    if not (values.dtype == pl.String or values.dtype.is_integer()):
        raise DataError(
            f"{path}: column {column!r} (for owner) holds {values.dtype}, which is neither text nor a "
            "whole number"
        )
    names = values.cast(pl.String).str.strip_chars().fill_null("")
    nobody = names == ""
    if nobody.any():
        row = int(nobody.arg_max() or 0) + 1
        raise DataError(f"{path}: column {column!r} (for owner) names nobody in record {row}")
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _table(path: Path, content: bytes) -> pl.DataFrame:
    kind = path.suffix.lower()
    if kind != ".parquet":
        _check_utf8(path, content)
    try:
        table = READERS[kind](io.BytesIO(content))
    except (pl.exceptions.PolarsError, ValueError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as {kind}: {reason}") from error
    if table.height == 0:
        raise DataError(f"{path}: the file holds no records")
    return table


def _column(path: Path, table: pl.DataFrame, column: str, role: str) -> pl.Series:
    if column not in table.columns:
        raise DataError(
            f"{path}: no column {column!r} (for {role}); it has {', '.join(table.columns)}"
        )
    return table[column]


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
