"""What a charter says of the columns of a party.

What is in the data has no say: ranges, lists, sizes and encoders are agreed upon before anybody looks.
"""

import math
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedward_shared.charter_terms import AdapterTerms, BaseModelTerms, Decimal
from fedward_shared.terms import Terms

RESERVED_CODES = 2
"""Of a category, before those of its values: for nothing, and for a value that is not among them."""
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


class ImageColumn(Terms):
    """PNG or JPEG files in base64. Each is brought to `height` × `width`, whatever its own sides are to
    each other, and to grey (one of `channels`) or colour (three)."""

    kind: Literal["image"] = "image"
    name: ColumnName
    height: Annotated[int, Field(ge=8, le=512)]
    width: Annotated[int, Field(ge=8, le=512)]
    channels: Literal[1, 3] = 3


class TextColumn(Terms):
    """Texts, of which the encoder `base_model` reads the first `max_tokens` tokens.

    `adapter`: `lora`, or `head-only` for an encoder that stays as it is. Where each record leaves once
    (`OnceTerms`) it stays as it is at the passive parties anyhow, since what they train is linear.
    """

    kind: Literal["text"] = "text"
    name: ColumnName
    max_tokens: Annotated[int, Field(ge=2, le=8192)] = 64
    base_model: BaseModelTerms
    adapter: AdapterTerms

    @model_validator(mode="after")
    def _adapter(self) -> "TextColumn":
        if self.adapter.method not in ("lora", "head-only"):
            raise ValueError(
                f"{self.name}: adapter.method is {self.adapter.method}; nothing is averaged over sites "
                "here, so it is lora or head-only"
            )
        if self.adapter.sketch != 1:
            raise ValueError(f"{self.name}: adapter.sketch: the adapter never travels")
        return self


Column = Annotated[
    NumberColumn | DateColumn | CategoryColumn | ImageColumn | TextColumn,
    Field(discriminator="kind"),
]


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
        """How many numbers a record has: of an image or a text, whether it is there."""
        of_kind = {"number": self.pieces + 1, "date": self.pieces + 3, "image": 1, "text": 1}
        return sum(of_kind.get(column.kind, 0) for column in self.columns)

    @property
    def categories(self) -> list[int]:
        """How many codes each category has."""
        return [
            len(c.values) + RESERVED_CODES for c in self.columns if isinstance(c, CategoryColumn)
        ]

    @property
    def contents(self) -> list[ImageColumn | TextColumn]:
        """The columns of which something has to be read first, in order."""
        return [c for c in self.columns if isinstance(c, ImageColumn | TextColumn)]

    @property
    def encoders(self) -> list[str]:
        """The digests of the base models that read its texts, each once."""
        texts = [c for c in self.columns if isinstance(c, TextColumn)]
        return list(dict.fromkeys(column.base_model.digest for column in texts))
