"""A study that was launched: what is said of it while it runs, and how it is said to have ended."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from conftest import COORDINATOR
from server.sessions.parties import PARTIES, PartiesGrid, Party, saved, vertical_charter
from server.test_studies import CHARTER as ROUNDS
from server.test_studies import START

from fedward_server import launching
from fedward_server.app import create_app
from fedward_server.exchange.sessions import SESSIONS_VARIABLE
from fedward_server.kinds import open_study
from fedward_server.observer import Observer
from fedward_server.registry import STUDIES_VARIABLE, STUDY_KEY, registered
from fedward_server.sessions.studies import SessionStudy
from fedward_server.studies import STUDY_FILE
from fedward_server.superlink import RunStatus, SuperLink
from fedward_shared import charter as charters
from fedward_shared.errors import (
    CohortError,
    FedwardError,
    Interrupted,
    RefusalCode,
    StateError,
    TransportError,
    UsageError,
)
from fedward_shared.messages import Refusal
from fedward_simulations.federation import _context


class Ended:
    """A SuperLink whose run has ended so."""

    def __init__(self, outcome: Literal["failed", "stopped"]) -> None:
        self._outcome: Literal["failed", "stopped"] = outcome

    def status(self, run_id: int) -> RunStatus:
        return RunStatus(run_id, "finished", self._outcome, "details")


@pytest.mark.parametrize(
    ("outcome", "kind", "said"),
    [
        # `study stop` stops the run first, and then writes down that it did.
        ("stopped", Interrupted, "stopped; `fedward study resume` goes on"),
        ("failed", TransportError, r"run 7 ended without an outcome \(details\)"),
    ],
)
def test_a_run_without_an_outcome(
    tmp_path: Path, outcome: Any, kind: type[FedwardError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        launching._conclude(tmp_path, cast(SuperLink, Ended(outcome)), 7, print)


VERTICAL = vertical_charter()


class InOneProcess:
    """A SuperLink that runs a ServerApp to its end when it is submitted, with these parties."""

    parties: list[Party]

    def __init__(self, *_: object) -> None:
        self.outcome: Any = "completed"

    def submit(self, _: Path, config: Mapping[str, str]) -> int:
        folder = registered(config[STUDY_KEY])
        with suppress(FedwardError):
            server = create_app(lambda _: open_study(folder), Observer())
            server(PartiesGrid(self.parties), _context(0, {}))
        return 7

    def status(self, run_id: int) -> RunStatus:
        return RunStatus(run_id, "finished", self.outcome, "")

    def stop(self, run_id: int) -> bool:
        return run_id == 7


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vertical study, and a coordinator who can launch it."""
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path / "launched"))
    monkeypatch.setenv(SESSIONS_VARIABLE, str(tmp_path / "sessions"))
    monkeypatch.setattr(launching, "SuperLink", InOneProcess)
    InOneProcess.parties = [Party(VERTICAL, name) for name in PARTIES]
    return saved(tmp_path / "study", VERTICAL)


def launch(folder: Path, how: launching.How = "launch") -> list[str]:
    said: list[str] = []
    launching.run(folder, folder, "", folder, how, said.append)
    return said


def test_a_vertical_study_says_who_is_done_and_what_that_cost(study: Path) -> None:
    said = launch(study)
    assert said[0] == "default: run 7"
    assert sorted(line.split(":")[0].strip() for line in said[2:5]) == sorted(PARTIES)
    assert said[5:] == ["complete"]
    with pytest.raises(UsageError, match="the study has begun"):
        launch(study)


def test_a_vertical_study_is_resumed_with_its_session_or_with_another_one(study: Path) -> None:
    bank, bureau, _ = InOneProcess.parties
    bureau.acts = [lambda party, _: Refusal(party.name, RefusalCode.STATE)] * 2
    for how in ("launch", "resume"):
        with pytest.raises(CohortError, match="bureau: refused: state"):
            launch(study, how)  # type: ignore[arg-type]
    assert launch(study, "resume")[-1] == "complete"
    assert len(set(bureau.sessions)) == 1
    assert len(bank.sessions) == 1
    assert launch(study, "new-session")[-1] == "complete"
    assert len(set(bureau.sessions)) == len(bank.sessions) == 2


def test_a_prediction_is_launched_once_there_is_a_model(study: Path) -> None:
    with pytest.raises(UsageError, match="no model is fitted yet"):
        launch(study, "predict")
    launch(study)
    with pytest.raises(UsageError, match="predictions of the charter is 0"):
        launch(study, "predict")
    asked = vertical_charter(predictions=1)
    InOneProcess.parties = [Party(asked, name) for name in PARTIES]
    folder = saved(study.parent / "asked", asked)
    launch(folder)
    said = launch(folder, "predict")
    assert any(", a prediction, " in line for line in said)
    assert said[-1] == "complete"
    assert [len(set(party.sessions)) for party in InOneProcess.parties] == [2, 2, 2]


def test_a_vertical_study_that_is_stopped_lets_its_parties_go(study: Path, tmp_path: Path) -> None:
    launch(study)
    assert launching.stop(study, "", study)
    kept = SessionStudy(study)
    kept.read()
    assert kept.session is not None
    open_ = tmp_path / "sessions" / f"{kept.session.session}.json"
    open_.write_text("{}")
    assert launching.stop(study, "", study)
    assert not open_.exists()
    assert json.loads((study / "outcome.json").read_text())["exit_code"] == 130
    (study / "outcome.json").unlink()
    (study / "sessions" / "0001.json").write_text("{}")
    with pytest.raises(StateError):  # and the run is stopped nevertheless
        launching.stop(study, "", study)
    assert (study / "outcome.json").exists()


def test_rounds_have_no_other_session(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rounds"
    charters.save(folder, ROUNDS, START, COORDINATOR)
    (folder / STUDY_FILE).write_text('base_model = "../model"\n')
    with pytest.raises(UsageError, match="this study has no session"):
        launch(folder, "new-session")
    with pytest.raises(UsageError, match="this study has no session"):
        launch(folder, "predict")


def test_lines_that_were_told_are_not_told_again() -> None:
    waiting = ["session", "waiting for: bank, bureau"]
    now = ["session", "bank: done", "waiting for: bureau"]
    assert now[launching._common(waiting, now) :] == now[1:]
    assert launching._common(now, now) == 3
    assert launching._common([], now) == 0
