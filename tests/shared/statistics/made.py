"""A charter that asks three sites about ages and wards, and what they answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from conftest import COORDINATOR, key_of

from fedward_shared import agreement
from fedward_shared.privacy.discrete import Integers
from fedward_shared.statistics import planning
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.tally import Tally
from fedward_shared.statistics.terms import CategoryColumn, NumberColumn, StatisticsTerms

SITES = ("north", "south", "west")
AGE = NumberColumn(name="age", low=0, high=100, bins=10)
WARD = CategoryColumn(name="ward", values=("heart", "bone"))


def terms(epsilon: float = 1.0, **changes: Any) -> StatisticsTerms:
    given: dict[str, Any] = {"columns": (AGE, WARD), "label": "ward", "delta": 1e-5, **changes}
    return planning.planned(epsilon=epsilon, **given)


def charter(asked: StatisticsTerms | None = None, **changes: Any) -> StatisticsCharter:
    content = {
        "study": "before",
        "purpose": "See whether the wards differ",
        "legal_basis": "test",
        "expires": "2099-01-01",
        "coordinator": {"name": "university", "key": COORDINATOR.public.text},
        "dataset": "records",
        "participants": [
            {"name": name, "key": key_of(name).public.text, "records": 100} for name in SITES
        ],
        "statistics": (asked or terms()).model_dump(mode="json"),
        **changes,
    }
    return agreement.parse(content, StatisticsCharter, "test")


def exact(asked: StatisticsTerms, ages: Mapping[int, int], wards: Mapping[int, int]) -> Integers:
    """Counts of records by their cells of the two columns; of each unit there is one."""
    layout = Layout(asked)
    counts = np.zeros(layout.size, dtype=np.int64)
    for column, cells in (("age", ages), ("ward", wards)):
        for cell, amount in cells.items():
            counts[layout.counts(column).start + cell] = amount
    counts[0] = counts[layout.unit_count.start] = sum(wards.values())
    return counts


def tally(
    of: StatisticsCharter, site: str, numbers: list[int] | None = None, **changes: Any
) -> Tally:
    size = Layout(of.statistics).size
    fields = {
        "charter": of.digest,
        "site": site,
        "epsilon": "0.5",
        "delta": "1e-05",
        "head": "0" * 64,
        "found": ("text",) * len(of.statistics.columns),
        "numbers": tuple(numbers if numbers is not None else [0] * size),
        **changes,
    }
    return Tally.model_construct(**fields)
