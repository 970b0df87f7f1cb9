"""The study of the simulation on real processes: SuperLink, SuperNodes, and what kills them."""

import json
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import texts
from e2e.federation import BUNDLE, Federation, known_as
from patience import LONG, PATIENCE, until

from fedward_client.masking import AGREED, MASKED, REVEALED
from fedward_client.site import Site
from fedward_client.vault import FOLDER
from fedward_server.observer import Observer
from fedward_server.registry import STUDIES_VARIABLE
from fedward_server.studies import Study
from fedward_shared import tensors
from fedward_shared.charter_terms import SecureAggregationTerms
from fedward_shared.privacy import accountant
from fedward_simulations.consortium import Consortium, Recipe, World

pytestmark = [pytest.mark.e2e, LONG]

EPSILON = 8.0
SITES = ("north", "south", "west")
WORDS = (MASKED, AGREED, REVEALED)


@pytest.fixture
def deployed(world: World) -> World:
    sites = {name: texts(24, 100 * n) for n, name in enumerate(SITES)}
    return replace(world, sites=sites)


def bookings(settings: Path) -> int:
    site = Site.open(settings)
    try:
        return site.ledger.spending("records").bookings
    finally:
        site.close()


def check_updates(folder: Path, rounds: int = 2) -> Study:
    """Every round is there with every site, and each update once."""
    study = Study(folder)
    study.read()
    assert study.is_complete
    assert json.loads((folder / "outcome.json").read_text())["exit_code"] == 0
    assert [record.cohort for record in study.records] == [sorted(SITES)] * rounds
    applied = [digest for kept in study.history for digest in kept.updates.values()]
    assert len(applied) == len(set(applied)) == rounds * len(SITES)
    return study


def check_whole(folder: Path, settings: list[Path], rounds: int = 2) -> Study:
    """As `check_updates`, and the ledgers say what an undisturbed study costs."""
    study = check_updates(folder, rounds)
    cost = accountant.epsilon(study.charter.schedule, study.charter.privacy.delta)
    for path in settings:
        site = Site.open(path)
        spending = site.ledger.spending("records")
        site.close()
        assert (spending.bookings, spending.open_bookings) == (rounds, 0)
        assert spending.epsilon == pytest.approx(cost)
    return study


def check_masked(settings: Path) -> None:
    """The site has masked, agreed and revealed once in the one round, and keeps no secret of it."""
    with closing(Site.open(settings)) as site:
        said = [e.event for e in site.audit.entries if e.event in WORDS]
    assert said == list(WORDS)
    folder = settings.parent / "run" / FOLDER
    assert {path.suffix for path in folder.iterdir()} == {".answer"}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())


def test_a_study_survives_the_kill_of_its_superlink_and_of_its_serverapp(
    tmp_path: Path, deployed: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Here for `register` and `fedward study resume`, and below for the coordinator's processes.
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path / "known"))
    consortium = Consortium(deployed, Observer())
    one = recipe.training.model_copy(update={"rounds": 1})  # which is five messages to each site
    masked = replace(recipe, training=one, masks=SecureAggregationTerms())
    folder, settings = consortium.prepare("killed-link", masked, EPSILON)
    coordinator = {STUDIES_VARIABLE: str(tmp_path / "known")}
    with Federation(tmp_path / "flower", settings, env=coordinator) as federation:
        run_id = federation.run(study=known_as(folder))
        until(lambda: any(bookings(path) for path in settings), federation.log_tails)
        federation.kill_superlink()
        time.sleep(2)
        federation.start_superlink()
        status = federation.wait(run_id)
        assert status.succeeded, federation.log_tails()
        first = check_whole(folder, settings, rounds=1)
        for path in settings:
            check_masked(path)
            path.write_text(path.read_text().replace('"required"', '"optional"'))

        # The same sites in a second study, without masks; its ServerApp is killed after the first round.
        second, same_sites = consortium.prepare("killed-app", recipe, EPSILON)
        for old, new in zip(settings, same_sites, strict=True):
            new.rename(new.with_suffix(".own"))
            (old.parent / "state").rename(old.parent / "state-of-the-first")
            (new.parent / "state").rename(old.parent / "state")
        for index in range(len(SITES)):
            federation.admit(index)  # what lay in the state that was moved away
        federation.run(study=known_as(second))
        until(lambda: (second / "rounds" / "0001.json").is_file(), federation.log_tails)
        federation.kill_serverapp()
        command = [sys.executable, "-m", "fedward_shared.cli", "study", "resume", str(second)]
        link = federation.superlink
        command += ["--bundle", str(BUNDLE), "--superlink", link.address, "--ca", str(link.ca_cert)]
        resumed = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr + federation.log_tails()
        again = check_whole(second, settings)
        ended = [*command[:4], "stop", str(second)]
        ended += ["--superlink", link.address, "--ca", str(link.ca_cert)]
        told = subprocess.run(ended, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert (told.returncode, told.stdout) == (0, "no run of it is under way\n"), told.stderr
        # Deployed sites draw from the operating system: nothing repeats.
        assert tensors.digest(first.adapter) != tensors.digest(again.adapter)
    assert federation.processes() == {}


def test_a_site_that_is_killed_in_a_round_is_asked_again(
    tmp_path: Path, deployed: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path / "known"))
    # A round that is killed once booked costs what a whole one does: ε has room for one more.
    recipe = replace(recipe, reserve_rounds=1)
    folder, settings = Consortium(deployed, Observer()).prepare("killed-node", recipe, EPSILON)
    coordinator = {STUDIES_VARIABLE: str(tmp_path / "known")}
    with Federation(tmp_path / "flower", settings, env=coordinator) as federation:
        run_id = federation.run(study=known_as(folder))
        until(lambda: bookings(settings[0]) == 1, federation.log_tails)
        federation.kill_site(0)
        federation.sign_off(0)
        time.sleep(10)  # longer than the coordinator takes to look who is there, twice a second
        federation.start_site(0)
        status = federation.wait(run_id)
        assert status.succeeded, federation.log_tails()
        study = check_updates(folder)
        first, *others = settings
        # What the killed process had booked stays spent; its round was booked once more, unless it
        # had ended and its answer was kept.
        assert bookings(first) in (2, 3)
        assert all(bookings(path) == 2 for path in others)
        assert study.records[0].missing == {}
    assert federation.processes() == {}
