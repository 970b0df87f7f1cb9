"""`fedward site search` as people run it."""

import tomllib
from pathlib import Path

import pytest
from client.home import Home
from client.searching.looked import EPSILON, RATES, SELECTION, written
from typer.testing import CliRunner

from fedward_client import limits
from fedward_client.commands.site import site
from fedward_shared.errors import BudgetExceeded, UsageError
from fedward_shared.messages import TrainRequest


def test_a_site_searches_and_is_told_what_may_leave(
    home: Home, sent: tuple[Path, TrainRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "apply_limits", lambda _: None)  # for good, of this process
    terms, out = written(home, SELECTION), home.folder / "search"
    command = ["search", str(sent[0]), str(terms), "--out", str(out), "--site", str(home.settings)]
    runner = CliRunner()
    refused = runner.invoke(site, [*command, "--epsilon", "0"])
    assert isinstance(refused.exception, UsageError)
    refused = runner.invoke(site, [*command, "--epsilon", "3.8"])
    assert isinstance(refused.exception, BudgetExceeded)
    assert not out.exists()
    told = runner.invoke(site, [*command, "--epsilon", str(EPSILON)])
    assert told.exit_code == 0, told.output
    assert "the search is one booking: ε = 3.8997 at δ = 1e-05" in told.output
    assert "account people: ε = 0.0000 held, 3.8997 with it, 8 allowed" in told.output
    assert "account people: ε = 3.8997 at δ = 1e-05 spent now" in told.output
    result = (out / "result.toml").read_text("utf-8")
    assert result in told.output
    low, high = RATES["training.learning_rate"]["low"], RATES["training.learning_rate"]["high"]
    assert low <= tomllib.loads(result)["training"]["learning_rate"] <= high
    assert f"of {out} only result.toml may leave this site" in told.output.replace("\n", " ")
    shown = runner.invoke(site, ["budget", "--site", str(home.settings)])
    assert "3.8997" in shown.output
    log = runner.invoke(site, ["audit", "show", "--site", str(home.settings)])
    assert "search for diagnoses" in log.output
