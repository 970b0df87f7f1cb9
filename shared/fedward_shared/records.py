"""Files of records: JSONL, CSV or Parquet with one column per role of a task."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from fedward_shared.errors import DataError
from fedward_shared.files import write_atomically

READERS: dict[str, Callable[[io.BytesIO], pl.DataFrame]] = {
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
    ".csv": pl.read_csv,
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
    found = {}
    for role in roles:
        column = columns.get(role, role)
        if column not in table.columns:
            raise DataError(
                f"{path}: no column {column!r} (for {role}); it has {', '.join(table.columns)}"
            )
        values = _as_text(path, table[column])
        if values.null_count():
            row = int(values.is_null().arg_max() or 0) + 1
            raise DataError(f"{path}: column {column!r} has no text in record {row}")
        found[role] = values.to_list()
    return found


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
