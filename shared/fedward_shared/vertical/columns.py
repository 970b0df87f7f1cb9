"""How the columns of a party become numbers, by what the charter says of them and by nothing else.

What is in the data has no say: ranges and lists are agreed upon before anybody looks, so that the
numbers of a record are a function of that record alone, which is what a bound on what one record moves
rests on.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from fedward_shared.charter_terms import Decimal
from fedward_shared.errors import DataError
from fedward_shared.terms import Terms

MISSING, UNSEEN = 0, 1
"""The codes before those of the values."""
NOTHING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What people write where there is nothing, in lower case."""
DAYS_OF_YEAR = 365.25

Finite = Annotated[Decimal, Field(allow_inf_nan=False)]
ColumnName = Annotated[str, Field(min_length=1, max_length=200)]


class NumberColumn(Terms):
    """Numbers from `least` to `most`; what is beyond counts as the end that it is beyond.

    In the middle of a `log` scale is what is in the middle of the orders of magnitude.
    """

    kind: Literal["number"] = "number"
    name: ColumnName
    least: Finite = 0.0
    most: Finite
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _range(self) -> "NumberColumn":
        if self.least >= self.most:
            raise ValueError(f"{self.name}: least is {self.least:g}, most is {self.most:g}")
        return self

    def place(self, value: str) -> float:
        """From 0 to 1; NaN where there is none. Raises ValueError for what is no number."""
        number = float(value)
        if math.isnan(number):
            return math.nan
        inside = min(max(number, self.least), self.most) - self.least
        width = self.most - self.least
        return inside / width if self.scale == "linear" else math.log1p(inside) / math.log1p(width)


class DateColumn(Terms):
    """Days (ISO 8601) from `first` to `last`: how far between, and the time of the year."""

    kind: Literal["date"] = "date"
    name: ColumnName
    first: date
    last: date

    @model_validator(mode="after")
    def _range(self) -> "DateColumn":
        if self.first >= self.last:
            raise ValueError(f"{self.name}: first is {self.first}, last is {self.last}")
        return self

    def place(self, value: str) -> float:
        """From 0 to 1. Raises ValueError for what is no date."""
        day = date.fromisoformat(value[:10])
        return min(max((day - self.first) / (self.last - self.first), 0.0), 1.0)

    @staticmethod
    def turn(value: str) -> float:
        """The time of the year, as an angle."""
        return 2 * math.pi * date.fromisoformat(value[:10]).timetuple().tm_yday / DAYS_OF_YEAR


class CategoryColumn(Terms):
    """One of `values`; anything else is one value more."""

    kind: Literal["category"] = "category"
    name: ColumnName
    values: Annotated[tuple[str, ...], Field(min_length=1, max_length=10_000)]

    @model_validator(mode="after")
    def _once(self) -> "CategoryColumn":
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"{self.name}: a value occurs twice")
        return self


Column = Annotated[NumberColumn | DateColumn | CategoryColumn, Field(discriminator="kind")]


class TableTerms(Terms):
    """The columns of one party. A number's range is cut into `pieces`, each of which has a weight."""

    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10_000)]
    pieces: Annotated[int, Field(ge=1, le=256)] = 8

    @model_validator(mode="after")
    def _names(self) -> "TableTerms":
        names = self.names
        if len(set(names)) < len(names):
            raise ValueError("columns: one occurs twice")
        return self

    @property
    def names(self) -> list[str]:
        """Of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def width(self) -> int:
        """How many numbers a record has beside its categories."""
        numbers = sum(column.kind == "number" for column in self.columns)
        dates = sum(column.kind == "date" for column in self.columns)
        return numbers * (self.pieces + 1) + dates * (self.pieces + 3)

    @property
    def categories(self) -> list[int]:
        """How many codes each category has."""
        return [len(c.values) + 2 for c in self.columns if isinstance(c, CategoryColumn)]


@dataclass(frozen=True)
class Encoded:
    """Records as a bottom model reads them: numbers_NF float32, codes_NC int64."""

    numbers_NF: torch.Tensor
    codes_NC: torch.Tensor

    def __len__(self) -> int:
        return len(self.numbers_NF)

    def rows(self, rows: torch.Tensor) -> "Encoded":
        """Those of them."""
        return Encoded(self.numbers_NF[rows], self.codes_NC[rows])


def encode(table: TableTerms, values: Sequence[Sequence[str | None]]) -> Encoded:
    """The records of which `values` are the columns, in the order of the terms.

    Numbers are encoded piece by piece (Gorishniy et al. 2022, "On Embeddings for Numerical Features in
    Tabular Deep Learning", with pieces of equal width). Raises DataError that names the column, and rows
    but not what is in them, for what is no number or date.
    """
    numbers: list[np.ndarray] = []
    codes: list[np.ndarray] = []
    for column, texts in zip(table.columns, values, strict=True):
        given = [None if text is None or _nothing(text) else text.strip() for text in texts]
        if isinstance(column, CategoryColumn):
            codes.append(_codes(column, given))
        else:
            numbers.append(_pieces(_places(column, given), table.pieces))
        if isinstance(column, DateColumn):
            numbers.append(_turns(column, given))
    count = len(values[0]) if values else 0
    empty = np.zeros((count, 0))
    return Encoded(
        torch.from_numpy(np.concatenate([empty, *numbers], axis=1).astype(np.float32)),
        torch.from_numpy(np.stack(codes, axis=1) if codes else empty.astype(np.int64)),
    )


def _nothing(text: str) -> bool:
    return text.strip().casefold() in NOTHING


def _codes(column: CategoryColumn, given: Iterable[str | None]) -> np.ndarray:
    known = {value: code for code, value in enumerate(column.values, start=UNSEEN + 1)}
    return np.array([MISSING if v is None else known.get(v, UNSEEN) for v in given], np.int64)


def _places(column: NumberColumn | DateColumn, given: Iterable[str | None]) -> np.ndarray:
    """From 0 to 1, NaN where nothing is, [N]."""
    places, wrong = [], []
    for row, value in enumerate(given, start=1):
        try:
            places.append(math.nan if value is None else column.place(value))
        except ValueError:
            wrong.append(row)
    if wrong:
        shown = ", ".join(str(row) for row in wrong[:5])
        raise DataError(
            f"column {column.name}: {len(wrong)} of its values are no {column.kind} (rows {shown}"
            f"{' …' if len(wrong) > 5 else ''})"
        )
    return np.array(places, np.float64)


def _pieces(place_N: np.ndarray, pieces: int) -> np.ndarray:
    """How much of each piece lies below, from -½ to ½, and whether there is nothing, [N, pieces + 1].

    About zero, records are shorter, and a bound on the length of their gradients leaves more of them.
    """
    missing_N1 = np.isnan(place_N)[:, None]
    below_NP = np.clip(np.nan_to_num(place_N)[:, None] * pieces - np.arange(pieces), 0.0, 1.0)
    return np.concatenate([np.where(missing_N1, 0.0, below_NP - 0.5), missing_N1], axis=1)


def _turns(column: DateColumn, given: Iterable[str | None]) -> np.ndarray:
    """Cosine and sine of the time of the year, 0 where there is nothing, [N, 2]."""
    turns = (None if value is None else column.turn(value) for value in given)
    pairs = [(0.0, 0.0) if t is None else (math.cos(t), math.sin(t)) for t in turns]
    return np.array(pairs, np.float64).reshape(-1, 2)
