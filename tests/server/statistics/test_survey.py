"""Statistics over a grid: each site is asked once, who is missing is named, what came is kept."""

import json
from pathlib import Path

import pytest
from conftest import key_of
from server.sessions.parties import Silence, Unwilling
from server.statistics.sites import CHARTER, Act, Asked, saved, survey, three
from shared.statistics.made import SITES, tally

from fedward_server.kinds import open_study
from fedward_server.statistics.stage import AnswerStage
from fedward_server.statistics.studies import ANSWERS_FILE, StatisticsStudy
from fedward_server.studies import STUDY_FILE
from fedward_shared.errors import CohortError, RefusalCode, StateError
from fedward_shared.messages import Answer, Counted, Refusal, SessionDone
from fedward_shared.statistics.page import PAGE_FILE, STATISTICS_FILE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "study")


def refuses(site: Asked) -> Answer:
    return Refusal(site.name, RefusalCode.BUDGET)


def later(site: Asked) -> Answer:
    return Refusal(site.name, RefusalCode.LATER)


def fails(_: Asked) -> None:
    return None


def forges(site: Asked) -> Answer:
    return site.counted(signer="south")


def speaks_of_another(site: Asked) -> Answer:
    return Counted("south", tally(CHARTER, "south").signed(key_of("south")))


def says_something_else(site: Asked) -> Answer:
    return SessionDone(site.name, b"done")


def too_few(site: Asked) -> Answer:
    return Counted(site.name, tally(CHARTER, site.name, [1, 2]).signed(key_of(site.name)))


def is_away(_: Asked) -> Answer:
    raise Silence(gone=50)


def told(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / STATISTICS_FILE).read_text("utf-8"))
    return content


def test_all_sites_answer_and_the_figures_are_published(folder: Path) -> None:
    before = open_study(folder)
    before.read()
    assert (before.begun, before.progress) == (False, "0 of 3 sites have answered")
    sites = three()
    study = survey(folder, sites)
    assert [site.called for site in sites] == [1, 1, 1]
    for site in sites:
        [receipt], said = site.receipts, study.tallies[site.name]
        assert (receipt.round, receipt.update, receipt.head) == (1, said.update, said.head)
    assert study.progress == "3 of 3 sites have answered"
    assert study.account[0] == "  north: answered; its ledger says ε = 0.5, δ = 1e-05"
    assert sorted(site["name"] for site in told(folder)["sites"]) == sorted(SITES)  # type: ignore[attr-defined]
    page = (folder / PAGE_FILE).read_text("utf-8")
    assert all(name in page for name in SITES)
    again = three()
    survey(folder, again)
    assert [site.called for site in again] == [0, 0, 0]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (refuses, "refused: budget (its ε or δ, or the charter's sessions are used up)"),
        (later, "refused: later"),
        (fails, "the site's process failed"),
        (forges, "not signed by north"),
        (speaks_of_another, "answered another question"),
        (says_something_else, "answered another question"),
        (too_few, "2 numbers about 2 columns"),
        (is_away, "not connected"),
    ],
)
def test_who_does_not_answer_is_named_and_asked_again(folder: Path, act: Act, reason: str) -> None:
    with pytest.raises(CohortError, match="2 of 3 sites have answered, and ") as said:
        survey(folder, three(act))
    assert reason in str(said.value)
    missing = told(folder)["missing"]
    assert isinstance(missing, dict)
    assert reason in missing["north"]
    assert reason in (folder / PAGE_FILE).read_text("utf-8").replace("&#39;", "'")
    first = (folder / ANSWERS_FILE).read_bytes()
    sites = three()
    study = survey(folder, sites)
    assert [site.called for site in sites] == [1, 0, 0]
    assert study.outstanding == []
    assert first != (folder / ANSWERS_FILE).read_bytes()
    assert told(folder)["missing"] == {}


def test_a_site_that_has_not_approved_is_not_asked(folder: Path) -> None:
    class Refusing(Unwilling, Asked):
        """Says no when it is greeted."""

    north = Refusing("north")
    with pytest.raises(CohortError, match="north: refused: charter"):
        survey(folder, [north, Asked("south"), Asked("west")])
    assert north.called == 0


def test_nobody_there_is_said(folder: Path) -> None:
    settings = folder / STUDY_FILE
    settings.write_text(settings.read_text("utf-8").replace("60.0", "0.1"), "utf-8")
    with pytest.raises(CohortError, match="0 of 3 sites have answered"):
        survey(folder, [])
    assert told(folder)["together"] is None


def test_a_coordinator_that_is_killed_keeps_what_came(folder: Path) -> None:
    def killed(_: Asked) -> Answer:
        raise KeyboardInterrupt

    sites = [Asked("north"), Asked("south", killed), Asked("west")]
    with pytest.raises(KeyboardInterrupt):
        survey(folder, sites)
    study = StatisticsStudy(folder)
    study.read()
    assert study.begun
    assert "north" not in study.outstanding
    again = three()
    survey(folder, again)
    assert again[0].called == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-10],
        lambda text: text.replace("north", "south", 1),
        lambda text: text.replace(CHARTER.digest[-6:], "000000", 1),
        lambda text: "[]",
    ],
)
def test_answers_that_are_damaged_are_not_read(folder: Path, damage: object) -> None:
    survey(folder, three())
    path = folder / ANSWERS_FILE
    path.write_text(damage(path.read_text("utf-8")))  # type: ignore[operator]
    with pytest.raises(StateError):
        StatisticsStudy(folder).read()


def test_the_time_ends_for_whoever_is_silent() -> None:
    stage = AnswerStage(CHARTER, frozenset(SITES), until=10.0)
    stage.offer("north", Counted("north", tally(CHARTER, "north").signed(key_of("north"))))
    stage.tick(9.0)
    assert stage.outstanding == {"south", "west"}
    stage.tick(10.0)
    assert stage.closed
    assert set(stage.failed.values()) == {"no reply before the deadline"}
    stage.offer("south", Refusal("south", RefusalCode.DATA))
    assert stage.failed["south"] == "no reply before the deadline"
