"""A study of duplicates, typed as a coordinator would, and conducted."""

import re
from pathlib import Path

import pytest
from conftest import COORDINATOR, key_of
from server.sessions.parties import Party, conduct, saved
from server.test_drafting import filled, run
from shared.duplicates.test_charter import NAMES, parsed

from fedward_server import launching
from fedward_server.cli import study
from fedward_server.exchange.sessions import Sessions
from fedward_server.kinds import open_study
from fedward_server.sessions.studies import SessionStudy
from fedward_shared import sessions
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import CharterError, UsageError


def draft(folder: Path, *options: object) -> str:
    if not (folder.parent / "coordinator.key").exists():
        COORDINATOR.save(folder.parent / "coordinator.key")
    given: list[object] = ["--study", "twice", "--coordinator", "university"]
    for name, records in zip(NAMES, (40, 1800, 7), strict=True):
        given += ["--participant", f"{name}={records}={key_of(name).public.text}"]
    given += ["--key", folder.parent / "coordinator.key"]
    return run(study, "draft-duplicates", folder, *given, *options)


def test_a_draft_that_was_filled_in_is_signed_and_says_what_no_epsilon_covers(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "study"
    draft(folder, "--column", "prompt", "--column", "completion", "--sessions", 3)
    with pytest.raises(CharterError, match=r"charter\.toml: purpose: .*; legal_basis: "):
        run(study, "sign", folder)
    filled(folder)
    said = run(study, "sign", folder)
    assert "NOT covered by ε: in each of 3 sessions" in said
    charter = sessions.load(folder)
    assert isinstance(charter, DuplicatesCharter)
    terms = charter.duplicates
    assert (terms.columns, terms.sessions) == (("prompt", "completion"), 3)
    assert (terms.most, terms.step, terms.least, terms.shortest) == (1800, 1000, 2, 10)
    assert "0 of 3 parties are done" in run(study, "status", folder)
    before = (folder / "charter.toml").read_text("utf-8")
    with pytest.raises(UsageError, match="is there already and was left as it is"):
        draft(folder)
    assert (folder / "charter.toml").read_text("utf-8") == before


def test_each_draft_draws_a_seed_of_its_own(tmp_path: Path) -> None:
    seeds = set()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        draft(tmp_path / name / "study")
        text = (tmp_path / name / "study" / "charter.toml").read_text("utf-8")
        seeds.add(re.findall(r"^seed = (\d+)", text, re.MULTILINE)[0])
    assert len(seeds) == 2


def test_all_sites_are_called_to_compare_and_again_where_people_want_it(tmp_path: Path) -> None:
    charter = parsed()
    folder = saved(tmp_path / "study", charter)
    kept = Sessions(tmp_path / "sessions")
    sites = [Party(charter, name) for name in NAMES]
    done = conduct(folder, sites, kept)
    assert done.outstanding == []
    assert [done.account[0].count("prediction"), len(done.sessions)] == [0, 1]
    found = open_study(folder)
    assert isinstance(found, SessionStudy)
    found.read()
    with pytest.raises(UsageError, match="fits no model"):
        found.predict()
    assert launching._drawing(found, "new-session") == found.start_over
    conduct(folder, sites, kept)
    for site in sites:
        [asked] = site.asked
        assert (asked.purpose, asked.model) == ("compare", None)
