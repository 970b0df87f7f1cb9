"""The worker's part in statistics: the records of a file, counted as the charter asks, without noise.

What a record adds is a function of that record alone, and of draws: no type is guessed from other
records, and a value that does not fit is counted and stops nothing.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from fedward_client.core import Counting
from fedward_shared import canonical, records
from fedward_shared.errors import DataError
from fedward_shared.privacy.discrete import Integers
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.records import NOTHING
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.tally import Found
from fedward_shared.statistics.terms import CategoryColumn, NumberColumn
from fedward_shared.tasks.units import Units

NESTED = "\0"
"""Stands for lists and objects, which are none of a column's values."""
LINES = (".jsonl", ".ndjson")

Given = Sequence[str | None]


def counted(
    asked: Counting, randomness: Callable[[str], Randomness]
) -> tuple[tuple[Found, ...], Integers]:
    """What the file declares of each column, and all that `Layout` lays out, exactly.

    Raises DataError for a file that is not the one that was registered, or does not say whose its
    records are where the charter protects people.
    """
    data = records.read_bytes(asked.data)
    if canonical.digest(data) != asked.file:
        raise DataError(f"{asked.data}: the file is another than the one that was registered")
    terms = asked.charter.statistics
    named = {c.name: asked.columns.get(c.name, c.name) for c in terms.columns}
    own = {asked.owner, asked.left_out.column if asked.left_out else None} - {None}
    table = read(asked.data, data, {*named.values(), *filter(None, own)})
    found = tuple(declared(asked.data, table, named[column.name]) for column in terms.columns)
    if asked.left_out is not None:
        table = asked.left_out.without(asked.data, table)
    draws = randomness(f"{asked.site} {asked.charter.digest} counting")
    kept, units = _kept(asked, table, draws)
    layout = Layout(terms)
    counts = np.zeros(layout.size, dtype=np.int64)
    counts[layout.unit_count.start] = units
    counts[0] = len(kept)
    for column in terms.columns:
        values = _values(asked.data, table, named[column.name])
        chosen = [values[row] for row in kept]
        if isinstance(column, CategoryColumn):
            counts[layout.counts(column.name).place] = _categories(column, chosen)
        else:
            numbers_N = np.array([_number(value) for value in chosen], dtype=np.float64)
            counts[layout.counts(column.name).place] = _bins(column, numbers_N, chosen)
            total = _sum(column, numbers_N, layout.steps, draws)
            counts[layout.sum(column.name).place] = total
    return found, counts


def read(path: Path, data: bytes, columns: Collection[str]) -> pl.DataFrame:
    """The records in `data`, the bytes of `path`, with `columns` at least where it has them.

    Lines of JSON are read one by one, as text: elsewhere the first lines decide what the others are.
    Raises DataError as `records.table` does.
    """
    if path.suffix.lower() not in LINES:
        return records.table(path, data)
    rows = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            rows.append(_row(path, line, number, columns))
    if not rows:
        raise DataError(f"{path}: the file holds no records")
    return pl.DataFrame(
        {column: [row.get(column) for row in rows] for column in columns},
        schema=dict.fromkeys(columns, pl.String),
    )


def _row(
    path: Path, line: bytes, number: int, columns: Collection[str]
) -> Mapping[str, str | None]:
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: line {number} is not JSON") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}: line {number} is no JSON object")
    return {column: _text(row.get(column)) for column in columns}


def _text(value: object) -> str | None:
    match value:
        case None | str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case _:
            return NESTED


def declared(path: Path, table: pl.DataFrame, column: str) -> Found:
    """What the file says of a column before its first record. Of lines of JSON that is nothing."""
    if path.suffix.lower() in LINES:
        return "undeclared"
    if column not in table.columns:
        return "absent"
    kind = table[column].dtype
    if kind.is_numeric():
        return "number"
    return "text" if kind in (pl.String, pl.Categorical, pl.Enum) else "other"


def _values(path: Path, table: pl.DataFrame, column: str) -> Given:
    """As text, None where there is nothing, also in a column that is not there."""
    if column not in table.columns:
        return [None] * table.height
    values = table[column]
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object):
        return [None if nothing else NESTED for nothing in values.is_null()]
    return [None if _nothing(value) else value for value in records.given(path, table, column)]


def _nothing(value: str | None) -> bool:
    return value is None or value.strip().casefold() in NOTHING


def _kept(asked: Counting, table: pl.DataFrame, draws: Randomness) -> tuple[Integers, int]:
    """The rows that count, and how many units they are of: of each unit so many rows at most, drawn."""
    if asked.owner is None:
        return np.arange(table.height), table.height
    owners = records.owners(asked.data, table, asked.owner)
    alike = np.ones(len(owners), dtype=np.int64)
    units = Units.of(alike, owners).at_most(asked.charter.statistics.most_records, alike, draws)
    return units.records_N, len(units)


def _categories(column: CategoryColumn, values: Given) -> Integers:
    other = len(column.values)
    place = {value: cell for cell, value in enumerate(column.values)}
    cells = [other + 1 if value is None else place.get(value, other) for value in values]
    return np.bincount(np.array(cells, dtype=np.int64), minlength=other + 2)


def _number(value: str | None) -> float:
    """NaN for what is none."""
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _bins(column: NumberColumn, number_N: np.ndarray, values: Given) -> Integers:
    """As `column.cells` names them."""
    missing = sum(value is None for value in values)
    known_K = number_N[~np.isnan(number_N)]
    inside_K = known_K[(known_K >= column.low) & (known_K <= column.high)]
    part_K = (inside_K - column.low) / (column.high - column.low)
    bins_K = np.minimum((part_K * column.bins).astype(np.int64), column.bins - 1)
    return np.concatenate(
        [
            [(known_K < column.low).sum()],
            np.bincount(bins_K, minlength=column.bins),
            [(known_K > column.high).sum(), len(values) - missing - len(known_K), missing],
        ]
    )


def _sum(column: NumberColumn, number_N: np.ndarray, steps: int, draws: Randomness) -> int:
    """Of the numbers, each clipped, brought to -`steps` … `steps` and rounded up or down by a draw,
    which leaves the mean as it is."""
    known_K = np.clip(number_N[~np.isnan(number_N)], column.low, column.high)
    half = (column.high - column.low) / 2
    exact_K = ((known_K - column.low) / half - 1) * steps
    rounded_K = np.floor(exact_K + draws.uniform(len(exact_K)))
    return int(np.clip(rounded_K, -steps, steps).sum())
