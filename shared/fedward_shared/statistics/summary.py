"""From the sites' noised numbers to figures: shares, means, quantiles and drift, with intervals.

All of it is post-processing, and costs nothing more however often it is done.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward_shared.statistics.answer import Layout, Question
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.figures import ColumnFigures, Drift, Figure, SiteFigures, Statistics
from fedward_shared.statistics.tally import Tally
from fedward_shared.statistics.terms import CategoryColumn, Column, NumberColumn

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
Z95 = 1.959964
"""Half the width of an interval that holds 95 % of a normal distribution, in deviations."""
DRAWS = 1000
BY_CHANCE = 0.95
ALL = "all sites"

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """The noised numbers of `sites` sites, added up."""

    layout: Layout
    numbers: Numbers
    sites: int = 1

    def counts(self, column: Column) -> Numbers:
        """How many records are in each cell of a column."""
        return self.numbers[self.layout.counts(column.name).place]

    def deviation(self, question: Question) -> float:
        """Of the noise in one number."""
        return self.layout.deviation(question) * math.sqrt(self.sites)

    @property
    def records(self) -> float:
        """How many records count, at least one."""
        return max(1.0, float(self.numbers[0]))

    def count(self, question: Question) -> Figure:
        """A question of a single number that is not negative."""
        return figure(float(self.numbers[question.start]), self.deviation(question), low=0.0)


def summary(
    charter: StatisticsCharter, tallies: Mapping[str, Tally], missing: Mapping[str, str]
) -> Statistics:
    """The figures of the sites that have answered, and who is `missing` and why."""
    terms = charter.statistics
    layout = Layout(terms)
    told = {
        site: Told(layout, np.array(tally.numbers, dtype=np.float64))
        for site, tally in tallies.items()
    }
    together = Told(layout, np.sum([one.numbers for one in told.values()], axis=0), len(told))
    return Statistics(
        study=charter.study,
        purpose=charter.purpose,
        charter=charter.digest,
        unit=terms.unit,
        epsilon=terms.epsilon,
        delta=terms.delta,
        most_records=terms.most_records,
        label=terms.label,
        together=_of(ALL, together) if told else None,
        sites=[
            _of(site, told[site], tally, together if len(told) > 1 else None)
            for site, tally in tallies.items()
        ],
        missing=dict(missing),
    )


def _of(
    name: str, told: Told, tally: Tally | None = None, together: Told | None = None
) -> SiteFigures:
    columns = told.layout.terms.columns
    return SiteFigures(
        name=name,
        records=told.count(told.layout.questions[0]),
        units=told.count(told.layout.unit_count),
        columns=[_column(told, column, together) for column in columns],
        found=dict(zip([c.name for c in columns], tally.found, strict=True)) if tally else {},
        epsilon=tally.spent if tally and math.isfinite(tally.spent) else None,
    )


def _column(told: Told, column: Column, together: Told | None) -> ColumnFigures:
    deviation = told.deviation(told.layout.counts(column.name))
    drift = drifted(told, together, column) if together else None
    shares = {
        cell: share(float(count), deviation, told)
        for cell, count in zip(column.cells, told.counts(column), strict=True)
    }
    if isinstance(column, CategoryColumn):
        return ColumnFigures(name=column.name, kind="category", shares=shares, drift=drift)
    return ColumnFigures(
        name=column.name,
        kind="number",
        shares=shares,
        mean=mean(told, column),
        quantiles=quantiles(told, column),
        drift=drift,
    )


def figure(
    value: float, deviation: float, low: float = -math.inf, high: float = math.inf
) -> Figure:
    """With the interval of noise of that deviation, cut off where nothing can be."""
    kept, begin, end = (min(max(value + side * Z95 * deviation, low), high) for side in (0, -1, 1))
    return Figure(value=kept, low=begin, high=end)


def share(count: float, deviation: float, told: Told) -> Figure:
    """A count as a share of the records, whose number is noised, too."""
    of_records = told.deviation(told.layout.questions[0])
    found = count / told.records
    return figure(found, math.hypot(deviation, found * of_records) / told.records, 0.0, 1.0)


def mean(told: Told, column: NumberColumn) -> Figure | None:
    """Of the numbers, each clipped to the column's range; None where noise hides how many they are."""
    layout = told.layout
    no_number, nothing = told.counts(column)[-2:]
    numbers = told.records - float(no_number) - float(nothing)
    of_counts = told.deviation(layout.counts(column.name))
    of_numbers = math.hypot(told.deviation(layout.questions[0]), math.sqrt(2) * of_counts)
    if numbers <= Z95 * of_numbers:
        return None
    asked = layout.sum(column.name)
    half, middle = (column.high - column.low) / 2, (column.high + column.low) / 2
    offset = float(told.numbers[asked.start]) / layout.steps / numbers
    deviation = math.hypot(told.deviation(asked) / layout.steps, offset * of_numbers) / numbers
    return figure(middle + half * offset, half * deviation, column.low, column.high)


def quantiles(told: Told, column: NumberColumn) -> dict[str, Figure]:
    """At each of `QUANTILES`; none where noise hides how many numbers there are.

    Of the numbers below an edge between two bins, D = (those below) - q·(all) grows with the edge from
    below to above 0, and has noise of a deviation that is known. The quantile is beyond every edge at
    which D is surely below 0, and not beyond one at which it surely is not.
    """
    counts = told.counts(column)[:-2]
    deviation = told.deviation(told.layout.counts(column.name))
    total, cells = float(counts.sum()), len(counts)
    if total <= Z95 * deviation * math.sqrt(cells):
        return {}
    below = np.cumsum(counts)[:-1]
    before = np.arange(1, cells)
    edges = np.linspace(column.low, column.high, column.bins + 1)
    found = {}
    for q in QUANTILES:
        distance = below - q * total
        noise = deviation * np.sqrt((1 - q) ** 2 * before + q**2 * (cells - before))
        surely_below = np.flatnonzero(distance < -Z95 * noise)
        surely_not = np.flatnonzero(distance >= Z95 * noise)
        low = float(edges[surely_below[-1]]) if len(surely_below) else column.low
        high = float(edges[surely_not[0]]) if len(surely_not) else column.high
        low, high = min(low, high), max(low, high)
        value = min(max(_crossing(edges, distance), low), high)
        found[f"{q:g}"] = Figure(value=value, low=low, high=high)
    return found


def _crossing(edges: Numbers, distance: Numbers) -> float:
    """Where it goes from below 0 to above, in the middle if noise has it do so more than once."""
    last, first = np.flatnonzero(distance < 0), np.flatnonzero(distance >= 0)
    if not len(last):
        return float(edges[0])
    if not len(first):
        return float(edges[-1])
    if last[-1] < first[0]:
        one, other = distance[last[-1]], distance[first[0]]
        part = -one / (other - one)
        return float(edges[last[-1]] + part * (edges[first[0]] - edges[last[-1]]))
    return float((edges[last[-1]] + edges[first[0]]) / 2)


def drifted(told: Told, together: Told, column: Column) -> Drift:
    """How far a site is from all together, and how far sites that are alike would be.

    The latter by drawing: as many records as the site and the others have, from the shares of all
    together, with the noise that there is. The draws are the same each time.
    """
    deviation = told.deviation(told.layout.counts(column.name))
    of_others = deviation * math.sqrt(together.sites - 1)
    own, others = round(told.records), max(1, round(together.records - told.records))
    likely = _shares(together.counts(column))
    drawn = np.random.default_rng(0)

    def counted(records: int, noise: float) -> Numbers:
        exact = drawn.multinomial(records, likely, size=DRAWS)
        return exact + noise * drawn.standard_normal(exact.shape)

    one, rest = counted(own, deviation), counted(others, of_others)
    distances = _distance(_shares(one), _shares(one + rest))
    found = _distance(_shares(told.counts(column)), likely)
    return Drift(distance=float(found), by_chance=float(np.quantile(distances, BY_CHANCE)))


def _shares(counts: Numbers) -> Numbers:
    """Of the last axis; what noise has made negative is nothing."""
    kept = np.maximum(counts, 0.0)
    total = kept.sum(axis=-1, keepdims=True)
    found: Numbers = np.where(total > 0, kept / np.maximum(total, 1e-9), 1 / counts.shape[-1])
    return found


def _distance(one: Numbers, other: Numbers) -> Numbers:
    found: Numbers = np.abs(one - other).sum(axis=-1) / 2
    return found
