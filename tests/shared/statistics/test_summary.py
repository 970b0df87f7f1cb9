"""Figures against numpy on the bare records, and intervals that hold as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared.statistics.made import AGE, SITES, charter, tally, terms

from fedward_shared.privacy.discrete import Integers
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.figures import Statistics
from fedward_shared.statistics.summary import ALL, QUANTILES, summary

ASKED = terms(1.0, columns=(AGE.model_copy(update={"bins": 50}), terms().columns[1]))
CHARTER = charter(ASKED)
LAYOUT = Layout(ASKED)
ANSWERS = ("heart", "bone", "other", "missing")


def counts_of(ages: np.ndarray, wards: np.ndarray) -> Integers:
    """By numpy: nothing of the worker's code."""
    counts = np.zeros(LAYOUT.size, dtype=np.int64)
    counts[0] = len(ages)
    inside, _ = np.histogram(ages, bins=50, range=(0, 100))
    cells = [(ages < 0).sum(), *inside, (ages > 100).sum(), 0, 0]
    counts[LAYOUT.counts("age").place] = cells
    clipped = np.clip(ages, 0, 100)
    counts[LAYOUT.sum("age").place] = round(float(((clipped - 50) / 50).sum() * LAYOUT.steps))
    counts[LAYOUT.counts("ward").place] = [(wards == n).sum() for n in range(4)]
    return counts


def people(seed: int, many: int = 3000, middle: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    wards = drawn.choice(4, many, p=[0.5, 0.3, 0.15, 0.05])
    return drawn.normal(middle, 15.0, many), wards


def told(*answers: Integers, noise: int | None = None) -> Statistics:
    """With noise of that seed, or none."""
    tallies = {}
    for site, counts in zip(SITES, answers, strict=False):
        stream = None if noise is None else Randomness.from_seed(noise, site)
        numbers = counts.tolist() if stream is None else LAYOUT.noised(counts, stream)
        tallies[site] = tally(CHARTER, site, numbers)
    return summary(CHARTER, tallies, {})


def test_without_noise_the_figures_are_those_of_the_records() -> None:
    ages, wards = people(1)
    found = told(counts_of(ages, wards)).sites[0]
    assert found.records.value == 3000
    assert (found.epsilon, found.found) == (0.5, {"age": "text", "ward": "text"})
    age, ward = found.column("age"), found.column("ward")
    for place, name in enumerate(ANSWERS):
        assert ward.shares[name].value == pytest.approx((wards == place).mean())
    assert age.mean is not None
    assert age.mean.value == pytest.approx(np.clip(ages, 0, 100).mean(), abs=0.01)
    for q in QUANTILES:
        quantile = age.quantiles[f"{q:g}"]
        assert quantile.value == pytest.approx(np.quantile(ages, q), abs=2.0)
        assert quantile.low <= np.quantile(ages, q) <= quantile.high


def test_all_sites_together_are_their_sum() -> None:
    several = [people(seed, 500 * seed, 30.0 + 10 * seed) for seed in (1, 2, 3)]
    found = told(*(counts_of(*one) for one in several))
    assert found.together is not None
    assert (found.together.name, found.together.records.value) == (ALL, 3000)
    ages = np.concatenate([ages for ages, _ in several])
    mean = found.together.column("age").mean
    assert mean is not None
    assert mean.value == pytest.approx(np.clip(ages, 0, 100).mean(), abs=0.01)
    width = [site.records.high - site.records.low for site in (found.together, found.sites[2])]
    assert width[0] == pytest.approx(math.sqrt(3) * width[1])


def test_intervals_hold_what_they_say() -> None:
    """95 % of 300 answers, within five deviations; a quantile's may hold it more often."""
    ages, wards = people(2, 1000)
    counts = counts_of(ages, wards)
    true = {
        "records": 1000.0,
        "heart": (wards == 0).mean(),
        "mean": np.clip(ages, 0, 100).mean(),
        **{f"{q:g}": np.quantile(ages, q) for q in QUANTILES},
    }
    held = dict.fromkeys(true, 0)
    for seed in range(300):
        site = told(counts, noise=seed).sites[0]
        age = site.column("age")
        assert age.mean is not None
        figures = {"records": site.records, "heart": site.column("ward").shares["heart"]}
        figures |= {"mean": age.mean, **age.quantiles}
        for name, figure in figures.items():
            held[name] += figure.low <= true[name] <= figure.high
    margin = 5 * math.sqrt(0.95 * 0.05 * 300)
    for name, many in held.items():
        assert many >= 285 - margin, name
        if name in ("records", "heart", "mean"):
            assert many <= 285 + margin, name


def test_sites_that_are_alike_seldom_drift_and_others_do() -> None:
    seen = dict.fromkeys(("age", "ward"), 0)
    for seed in range(24):
        alike = [counts_of(*people(100 * seed + n)) for n in range(3)]
        for column in told(*alike, noise=seed).sites[0].columns:
            assert column.drift is not None
            seen[column.name] += column.drift.seen
    assert max(seen.values()) <= 1.2 + 5 * math.sqrt(24 * 0.05 * 0.95)
    older = [counts_of(*people(7)), counts_of(*people(8)), counts_of(*people(9, middle=55.0))]
    drifted = told(*older, noise=1).sites[2].column("age").drift
    assert drifted is not None
    assert drifted.seen
    assert 0.2 < drifted.distance < 0.35


def test_one_site_alone_has_no_drift_and_nobody_no_figures() -> None:
    assert told(counts_of(*people(1))).sites[0].column("age").drift is None
    nobody = summary(CHARTER, {}, {"north": "not connected"})
    assert (nobody.together, nobody.sites, nobody.missing) == (
        None,
        [],
        {"north": "not connected"},
    )


def test_noise_that_hides_everything_is_said_to() -> None:
    nothing = told(np.zeros(LAYOUT.size, dtype=np.int64), noise=3)
    age = nothing.sites[0].column("age")
    assert (age.mean, age.quantiles) == (None, {})


@settings(max_examples=20)
@given(st.lists(st.integers(-(2**52) + 1, 2**52 - 1), min_size=LAYOUT.size, max_size=LAYOUT.size))
def test_whatever_a_site_says_there_are_figures(numbers: list[int]) -> None:
    """A broken or hostile site spoils its figures and not the page."""
    tallies = {
        "north": tally(CHARTER, "north", numbers),
        "south": tally(CHARTER, "south", counts_of(*people(1)).tolist()),
    }
    found = summary(CHARTER, tallies, {})
    assert found.encode()
    for site in found.sites:
        for column in site.columns:
            for figure in column.shares.values():
                assert 0 <= figure.low <= figure.value <= figure.high <= 1
            for figure in column.quantiles.values():
                assert 0 <= figure.low <= figure.value <= figure.high <= 100
