"""The files of open sessions."""

from pathlib import Path

import pytest
from server.exchange.test_relay import ID, SESSION

from fedward_server.exchange.sessions import Sessions
from fedward_shared.errors import ExchangeError


def test_a_session_is_found_from_opening_to_closing(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    assert sessions.find(ID) is None
    sessions.open(SESSION)
    assert sessions.find(ID) == SESSION
    assert (tmp_path / "sessions" / f"{ID}.json").stat().st_mode & 0o777 == 0o600
    sessions.close(ID)
    sessions.close(ID)
    assert sessions.find(ID) is None


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    sessions.open(SESSION)
    (tmp_path / "sessions" / f"{ID}.json").rename(tmp_path / "other.json")
    assert sessions.find("../other") is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.json"
    path.write_text("{}")
    with pytest.raises(ExchangeError, match="parties: Field required"):
        Sessions(tmp_path).find(ID)
    path.write_text(SESSION.model_copy(update={"session": "cd" * 32}).model_dump_json())
    with pytest.raises(ExchangeError, match="is of session cdcd"):
        Sessions(tmp_path).find(ID)
