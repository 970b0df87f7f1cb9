"""Statistics of several sites from end to end, with the messages and ledgers of a deployment."""

import io
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import texts
from rich.console import Console
from shared.statistics.made import terms

from fedward_client import evidence
from fedward_client.site import Site
from fedward_server.observer import Observer
from fedward_server.statistics.studies import StatisticsStudy
from fedward_shared import records
from fedward_shared.errors import CohortError
from fedward_shared.statistics.page import PAGE_FILE, STATISTICS_FILE
from fedward_shared.statistics.terms import StatisticsTerms
from fedward_shared.tasks.base import Columns
from fedward_simulations import federation, statistics
from fedward_simulations.scenarios import statistics as scenario

SITES = ("north", "south", "west")


def holder(seed: int, many: int = 400, age: float = 40.0) -> Columns:
    drawn = np.random.default_rng(seed)
    wards = drawn.choice(["heart", "bone", ""], many, p=[0.6, 0.3, 0.1])
    ages = np.clip(drawn.normal(age, 10.0, many), 1, 99)
    owners = drawn.integers(0, many // 2, many)
    return {
        "text": texts(many, seed)["text"],
        "age": [f"{one:.1f}" for one in ages],
        "ward": wards.tolist(),
        "owner": [f"patient {n}" for n in owners],
    }


HOLDERS = {"north": holder(1), "south": holder(2), "west": holder(3, age=65.0)}


def study(folder: Path, asked: StatisticsTerms | None = None, seed: int = 0) -> StatisticsStudy:
    return statistics.run(folder, HOLDERS, asked or terms(2.0), "test", seed)


@pytest.mark.parametrize("unit", ["record", "patient"])
def test_several_sites_tell_what_they_hold(tmp_path: Path, unit: str) -> None:
    asked = terms(2.0, unit=unit, most_records=1 if unit == "record" else 2)
    found = study(tmp_path, asked)
    assert found.progress == "3 of 3 sites have answered"
    told = json.loads((found.folder / STATISTICS_FILE).read_text("utf-8"))
    assert (found.folder / PAGE_FILE).is_file()
    for site in told["sites"]:
        held = HOLDERS[site["name"]]
        figures = {column["name"]: column for column in site["columns"]}
        mean = np.mean([float(age) for age in held["age"]])
        assert abs(figures["age"]["mean"]["value"] - mean) < 5
        if unit == "record":
            assert abs(site["records"]["value"] - 400) < 40
        else:
            assert abs(site["units"]["value"] - len(set(held["owner"]))) < 40
        assert abs(figures["ward"]["shares"]["heart"]["value"] - 0.6) < 0.15
        assert 1.9 < site["epsilon"] <= 2.0
    drift = {site["name"]: site["columns"][0]["drift"] for site in told["sites"]}
    assert drift["west"]["distance"] > 2 * drift["west"]["by_chance"]


def test_the_same_seed_gives_the_same_bytes_and_another_other_ones(tmp_path: Path) -> None:
    first, second, other = (study(tmp_path / str(n), seed=seed) for n, seed in enumerate((0, 0, 1)))
    numbers = [{s: t.numbers for s, t in one.tallies.items()} for one in (first, second, other)]
    assert numbers[0] == numbers[1]
    assert all(numbers[0][site] != numbers[2][site] for site in SITES)


def test_a_site_that_says_no_is_named_and_the_others_answer(tmp_path: Path) -> None:
    coordinator, paths = statistics.prepare(tmp_path, HOLDERS, terms(2.0), "test", 0)
    text = paths[0].read_text("utf-8")
    paths[0].write_text(text.replace('"accepted"', '"refused"'), "utf-8")
    with pytest.raises(CohortError, match=r"2 of 3 sites have .*north: refused: charter"):
        federation.run(coordinator, paths, 0, Observer(), "in-process")
    paths[0].write_text(text, "utf-8")
    federation.run(coordinator, paths, 0, Observer(), "in-process")
    found = StatisticsStudy(coordinator)
    found.read()
    assert found.outstanding == []
    for path in paths:  # asked twice or not: booked once
        with closing(Site.open(path)) as site:
            assert site.ledger.spending("records").bookings == 1
            [left] = evidence.gather(site, found.charter.digest).departures
            assert left.receipted
            assert left.digest == found.tallies[site.name].update


def test_the_scenario_runs_on_ones_own_file_and_replaces_a_finished_run(tmp_path: Path) -> None:
    records.write_jsonl(tmp_path / "own.jsonl", texts(120))
    options = scenario.Options(
        tmp_path / "out",
        records=40,
        sites=2,
        epsilon=2.0,
        partition="iid",
        data=tmp_path / "own.jsonl",
    )
    said = Console(file=io.StringIO())
    first = scenario.run(options, said)
    assert [site.name for site in first.sites] == ["north", "east"]
    assert scenario.run(options, said) == first
    found = json.loads((tmp_path / "out" / STATISTICS_FILE).read_text("utf-8"))
    assert found == json.loads(first.encode())
    assert (tmp_path / "out" / PAGE_FILE).is_file()
