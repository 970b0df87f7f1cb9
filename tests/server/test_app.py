"""The ServerApp runs a study of either kind, and says how it ended."""

import json
from pathlib import Path

import pytest
from server.sessions.parties import PARTIES, PartiesGrid, Party, saved, vertical_charter

from fedward_server.app import create_app
from fedward_server.exchange.sessions import SESSIONS_VARIABLE
from fedward_server.kinds import open_study
from fedward_server.observer import Observer
from fedward_shared.errors import CohortError, RefusalCode, UsageError
from fedward_shared.messages import Refusal
from fedward_simulations.federation import _context

CHARTER = vertical_charter()


def run(folder: Path, parties: list[Party]) -> None:
    create_app(lambda _: open_study(folder), Observer())(PartiesGrid(parties), _context(0, {}))


def outcome(folder: Path) -> dict[str, object]:
    """What the ServerApp has written down at its end."""
    found: dict[str, object] = json.loads((folder / "outcome.json").read_text())
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(SESSIONS_VARIABLE, str(tmp_path / "sessions"))
    return saved(tmp_path / "study", CHARTER)


def test_a_vertical_study_is_complete_when_all_parties_are_done(folder: Path) -> None:
    run(folder, [Party(CHARTER, name) for name in PARTIES])
    assert outcome(folder) == {"outcome": "complete", "exit_code": 0}


def test_a_vertical_study_in_which_a_party_refused_says_so(folder: Path) -> None:
    parties = [Party(CHARTER, name) for name in PARTIES]
    parties[1].acts = [lambda party, _: Refusal(party.name, RefusalCode.BUDGET)]
    with pytest.raises(CohortError, match="bureau: refused: budget"):
        run(folder, parties)
    assert outcome(folder)["exit_code"] == 9
    assert "fedward study resume" in str(outcome(folder)["outcome"])


def test_without_an_exchange_nothing_begins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SESSIONS_VARIABLE)
    parties = [Party(CHARTER, name) for name in PARTIES]
    with pytest.raises(UsageError, match="needs the exchange"):
        run(folder, parties)
    assert outcome(folder)["exit_code"] == 2
    assert [party.sessions for party in parties] == [[], [], []]
