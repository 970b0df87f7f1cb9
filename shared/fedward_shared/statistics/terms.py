"""What a statistics charter asks of each site: columns, with public ranges and lists, and what it costs.

Nothing here is derived from data: ranges and lists are agreed upon before anybody looks.
"""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedward_shared.charter_terms import Decimal, Positive
from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.unit import Unit
from fedward_shared.terms import Terms
from fedward_shared.vertical.columns import ColumnName, Finite

MOST_CELLS = 16_384
"""Of all columns together: so many signed numbers fit into one statement."""
MOST_NOISE = 2.0**14
"""A deviation of the noise in a count beyond which nothing could be seen."""

Value = Annotated[str, Field(min_length=1, max_length=200)]


class NumberColumn(Terms):
    """Numbers, counted in `bins` of equal width from `low` to `high`, and beyond either end."""

    kind: Literal["number"] = "number"
    name: ColumnName
    low: Finite
    high: Finite
    bins: Annotated[int, Field(ge=1, le=4096)] = 32

    @model_validator(mode="after")
    def _range(self) -> "NumberColumn":
        if not self.low < self.high or self.high - self.low == math.inf:
            raise ValueError(f"{self.name}: low is {self.low:g}, high is {self.high:g}")
        return self

    @property
    def cells(self) -> tuple[str, ...]:
        """What is counted apart."""
        width = (self.high - self.low) / self.bins
        edges = [self.low + n * width for n in range(self.bins)]
        inside = [f"{edge:g} to {edge + width:g}" for edge in edges]
        return (f"below {self.low:g}", *inside, f"above {self.high:g}", "no number", "missing")


class CategoryColumn(Terms):
    """One of `values`; whatever else is there is counted as other."""

    kind: Literal["category"] = "category"
    name: ColumnName
    values: Annotated[tuple[Value, ...], Field(min_length=1, max_length=4096)]

    @model_validator(mode="after")
    def _once(self) -> "CategoryColumn":
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"{self.name}: a value occurs twice")
        return self

    @property
    def cells(self) -> tuple[str, ...]:
        """What is counted apart."""
        return (*self.values, "other", "missing")


Column = Annotated[NumberColumn | CategoryColumn, Field(discriminator="kind")]


class StatisticsTerms(Terms):
    """What each site answers once, and the Gaussian noise in all of it together.

    `label`: the column of which the balance matters most. `most_records`: of each patient or customer so
    many records count, drawn at random; of a `unit` that is a record itself there is one.
    `noise_multiplier` is that of the whole answer, as if it were one vector that one unit moves by 1.
    """

    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=256)]
    label: ColumnName | None = None
    epsilon: Positive
    delta: Annotated[Decimal, Field(gt=0, lt=1)] = 1e-5
    unit: Unit = "record"
    most_records: Annotated[int, Field(ge=1, le=10_000)] = 1
    noise_multiplier: Positive

    @model_validator(mode="after")
    def _columns_once(self) -> "StatisticsTerms":
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError("columns: one occurs twice")
        labels = [column.name for column in self.columns if isinstance(column, CategoryColumn)]
        if self.label is not None and self.label not in labels:
            raise ValueError(f"label: {self.label} is no category among the columns")
        cells = sum(len(column.cells) for column in self.columns)
        if cells > MOST_CELLS:
            raise ValueError(f"columns: {cells} counts, at most {MOST_CELLS} fit into an answer")
        return self

    @model_validator(mode="after")
    def _of_records(self) -> "StatisticsTerms":
        if self.unit == "record" and self.most_records != 1:
            raise ValueError('most_records: unit "record" has one record')
        return self

    @model_validator(mode="after")
    def _within(self) -> "StatisticsTerms":
        if self.count_noise > MOST_NOISE:
            raise ValueError(
                f"noise_multiplier: a count would have noise of {self.count_noise:,.0f}, which hides "
                "everything: ask for fewer columns or records of one unit, or grant more ε"
            )
        try:
            cost = accountant.epsilon([self.event], self.delta)
        except PrivacyError as error:
            raise ValueError(str(error)) from error
        if cost > self.epsilon:
            raise ValueError(f"epsilon is {self.epsilon:g}, and the answer costs {cost:.4f}")
        return self

    @property
    def event(self) -> Event:
        """What a site books for its one answer."""
        return Event("gaussian", 1.0, self.noise_multiplier, 1, self.unit)

    @property
    def questions(self) -> int:
        """Into how many vectors the answer falls, each noised as much as the others."""
        numbers = sum(isinstance(column, NumberColumn) for column in self.columns)
        return 1 + (self.unit != "record") + len(self.columns) + numbers

    @property
    def count_noise(self) -> float:
        """Deviation of the noise in a count of records."""
        return self.noise_multiplier * math.sqrt(self.questions) * self.most_records
