"""Hospitals that are compared on one machine, and what they find beside what there is."""

import csv
import json
from pathlib import Path

from rich.console import Console

from fedward_shared.text import BANDS
from fedward_simulations.scenarios import duplicates
from fedward_simulations.scenarios.duplicates import Dealt, Options

TEXTS = [
    f"note {n} of a visit of which there is only one, on day {n * 3} of {n * n}" for n in range(9)
]


def test_what_lies_twice_is_found_by_both_and_by_nobody_else() -> None:
    dealt = Dealt([*TEXTS, *TEXTS[:3]], [*["north"] * 5, *["south"] * 4, "south", "north", "west"])
    terms, outcome = dealt.compared(1, seed=0)
    assert terms.most == 6
    expected = {(0, "south"), (9, "north"), (2, "west"), (11, "north")}
    assert dealt.true(0.85) == expected
    assert dealt.found(outcome, BANDS) == expected  # text 1 and its copy are both in the north
    assert {name: set(own) for name, own in outcome.found.items()} == {
        "north": {"south", "west"},
        "south": {"north", "west"},
        "west": {"north", "south"},
    }
    assert outcome.sent["north"] == outcome.sent["south"] == outcome.sent["west"]
    assert all(seconds > 0 for seconds in outcome.seconds.values())


def test_a_run_writes_what_each_found_and_how_good_that_is(tmp_path: Path) -> None:
    options = Options(tmp_path, records=60, sites=2)
    result = duplicates.run(options, Console(quiet=True))
    assert json.loads((tmp_path / "result.json").read_bytes()) == result
    assert result["recall"] > 0.8
    rows = list(csv.reader((tmp_path / "hospital-0" / "alike.csv").open(newline="")))
    assert rows[0] == ["record", "site"]
    assert {site for _, site in rows[1:]} == {"hospital-1"}
    assert (tmp_path / "hospital-0" / "alike.csv").stat().st_mode & 0o777 == 0o600
