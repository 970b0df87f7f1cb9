"""What `statistics.json` holds: figures with the intervals that the noise implies, by site and together.

An interval is of 95 % and speaks of the noise alone: between its ends is the figure that a site would
have told without noise, not that of a population which its records are a sample of.
"""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from fedward_shared.statistics.tally import Found

SCHEMA: Literal["fedward-statistics/1"] = "fedward-statistics/1"

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Part(BaseModel):
    """A part of the result: nothing may be added to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Part):
    """A value, and the interval that holds what it would be without noise."""

    value: Finite
    low: Finite
    high: Finite


class Drift(Part):
    """How far a column's shares at one site are from those of all sites together: the total variation
    distance, from 0 (the same) to 1. Of sites that are alike, noise and chance bring 19 of 20 no farther
    than `by_chance`."""

    distance: Finite
    by_chance: Finite

    @property
    def seen(self) -> bool:
        """Whether it is more than noise and chance explain."""
        return self.distance > self.by_chance


class ColumnFigures(Part):
    """One column: the `shares` of what is counted apart, of all records. Of numbers also the `mean` and
    `quantiles`, of those that lie between `low` and `high` or beyond; None where noise hides them."""

    name: str
    kind: Literal["number", "category"]
    shares: dict[str, Figure]
    mean: Figure | None = None
    quantiles: dict[str, Figure] = {}
    drift: Drift | None = None


class SiteFigures(Part):
    """One site, or all together. `found`: what its file says of each column without a look at a record.
    `epsilon` is that of its ledger; None for all together, who have no common ledger."""

    name: str
    records: Figure
    units: Figure
    columns: list[ColumnFigures]
    found: dict[str, Found] = {}
    epsilon: float | None = None

    def column(self, name: str) -> ColumnFigures:
        """The column called so."""
        return next(column for column in self.columns if column.name == name)


class Statistics(Part):
    """All that a statistics charter has brought. `missing`: site → why it has not answered."""

    schema_version: Literal["fedward-statistics/1"] = Field(default=SCHEMA, alias="schema")
    study: str
    purpose: str
    charter: str
    unit: str
    epsilon: float
    delta: float
    most_records: int
    label: str | None
    together: SiteFigures | None
    sites: list[SiteFigures]
    missing: dict[str, str] = {}

    def encode(self) -> bytes:
        """The bytes of `statistics.json`."""
        content: JsonValue = self.model_dump(mode="json", by_alias=True)
        text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
