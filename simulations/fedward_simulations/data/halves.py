"""One table, cut in two: what two institutions know about people of whom each has most.

Each writes down a national id as it is used to, and has its records in an order of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical.columns import CategoryColumn, Column, TableTerms

IDENTIFIER = "national_id"
RULE = "number"
"""By which the two ways of writing it are the same."""
KEPT = 0.9
"""The part of all people whom a party has among its own."""

ColumnOrName = Column | str
"""A name alone is a category, of the values that occur: the codebook of public data has no others."""


@dataclass(frozen=True)
class Half:
    """What a party holds: its records, and what is agreed about its columns."""

    records: pl.DataFrame
    table: TableTerms


@dataclass(frozen=True)
class Halves:
    """The `active` party has the column `label` beside those of its table."""

    active: Half
    passive: Half
    label: str


def halves(
    whole: pl.DataFrame,
    active: Sequence[ColumnOrName],
    passive: Sequence[ColumnOrName],
    label: str,
    seed: int,
) -> Halves:
    """Cuts `whole`, of which all columns are texts."""
    return Halves(
        _half(whole, active, seed, "active", _grouped, [label]),
        _half(whole, passive, seed, "passive", _plain, []),
        label,
    )


def _half(
    whole: pl.DataFrame,
    columns: Sequence[ColumnOrName],
    seed: int,
    party: str,
    written: Callable[[int], str],
    more: Sequence[str],
) -> Half:
    table = TableTerms(
        columns=tuple(_category(whole, c) if isinstance(c, str) else c for c in columns)
    )
    identifiers = pl.Series(IDENTIFIER, [written(person) for person in range(whole.height)])
    order = np.argsort(Randomness.from_seed(seed, party, "records").words64(whole.height))
    kept = order[: round(KEPT * whole.height)].tolist()
    own = whole.with_columns(identifiers).select(IDENTIFIER, *table.names, *more)
    return Half(own[kept], table)


def _category(whole: pl.DataFrame, name: str) -> CategoryColumn:
    return CategoryColumn(name=name, values=tuple(sorted(set(whole[name].drop_nulls().to_list()))))


def _grouped(person: int) -> str:
    return f"ln {person // 1000:03d} {person % 1000:03d} q"


def _plain(person: int) -> str:
    return f"LN{person:06d}Q"
