"""The evidence of a study is what really happened, held against what the server applied."""

import re
from pathlib import Path

import pytest
from conftest import key_of
from typer.testing import CliRunner

from fedward_client import evidence
from fedward_client.commands.site import site as commands
from fedward_client.site import Site
from fedward_server.observer import Observer
from fedward_shared import canonical
from fedward_shared.errors import AuditError, CharterError
from fedward_shared.privacy import accountant
from fedward_simulations.consortium import Consortium, Outcome, Recipe, World


@pytest.fixture
def outcome(world: World, recipe: Recipe) -> Outcome:
    """A study that has run to its end."""
    return Consortium(world, Observer()).run("study", recipe, 8.0)


def test_the_page_says_what_left_and_what_it_cost(outcome: Outcome, tmp_path: Path) -> None:
    settings, charter = outcome.sites[0], outcome.study.charter
    site = Site.open(settings)
    found = evidence.gather(site, charter.digest)
    site.close()
    applied = [kept.updates["north"] for kept in outcome.study.history[1:]]
    assert [departure.digest for departure in found.departures] == applied
    assert all(departure.receipted for departure in found.departures)
    assert found.bookings == 2
    assert found.epsilon == f"{accountant.epsilon(charter.schedule, 1e-5):.4f}"
    assert [what for _, what, _ in found.decisions] == ["approve"]
    assert found.others == 0
    file = canonical.digest((settings.parent / "records.jsonl").read_bytes())
    assert re.fullmatch(rf"24 on \d{{4}}-\d\d-\d\d \({file}\)", found.records)
    out = tmp_path / "evidence.html"
    arguments = ["report", "--study", charter.digest, "--out", str(out), "--site", str(settings)]
    assert CliRunner().invoke(commands, arguments).exit_code == 0
    page = out.read_text("utf-8")
    for text in (*applied, charter.digest, charter.purpose, "signed receipt", found.epsilon):
        assert text in page
    assert not re.search(r"<script|src=|https?://", page)


def test_a_log_that_was_changed_gives_no_evidence(outcome: Outcome) -> None:
    settings = outcome.sites[0]
    site = Site.open(settings)
    path = site.audit.path
    text = path.read_text("utf-8")
    path.write_text(text.replace('"round":2', '"round":1', 1), "utf-8")
    with pytest.raises(AuditError, match=r"audit\.jsonl, line \d+: "):
        evidence.gather(site, outcome.study.charter.digest)
    site.close()


def test_a_study_that_is_not_known_here(outcome: Outcome) -> None:
    site = Site.open(outcome.sites[0])
    with pytest.raises(CharterError, match="not approved here"):
        evidence.gather(site, "sha256:" + key_of("x").public.text.removeprefix("ed25519:"))
    site.close()
