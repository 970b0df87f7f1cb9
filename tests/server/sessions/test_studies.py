"""A vertical study on disk: its session is drawn once, and what is damaged is never replaced."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from server.sessions.parties import PARTIES, completion, saved, vertical_charter

from fedward_server.exchange.sessions import SESSIONS_VARIABLE, Session, Sessions
from fedward_server.sessions.studies import SessionRecord, SessionStudy
from fedward_shared.errors import StateError, UsageError

CHARTER = vertical_charter()
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "study", CHARTER)


def begun(folder: Path, *done: str) -> SessionRecord:
    """The session after these parties are done."""
    study = SessionStudy(folder)
    record = study.begin(NOW)
    signed = {s: completion(study.charter, s, record.session) for s in done}
    study.note(signed, {}, ["telecom"])
    assert study.session is not None
    return study.session


def path_of(folder: Path, number: int = 1) -> Path:
    return folder / "sessions" / f"{number:04d}.json"


def test_a_session_and_its_deadline_are_drawn_once(folder: Path) -> None:
    before = SessionStudy(folder)
    before.read()
    assert (before.begun, before.account, before.progress) == (False, [], "0 of 3 parties are done")
    first = begun(folder, "bureau")
    study = SessionStudy(folder)
    again = study.begin(NOW + timedelta(hours=3))
    assert again.session == first.session
    assert again.deadline == NOW + timedelta(seconds=60)
    assert study.outstanding == ["bank", "telecom"]
    assert study.completions["bureau"].spent == 2.5
    other = SessionStudy(saved(folder.parent / "other", CHARTER)).begin(NOW)
    assert other.session != first.session


def test_what_became_of_it_is_said_in_lines_that_grow(folder: Path) -> None:
    record = begun(folder)
    study = SessionStudy(folder)
    study.read()
    head = f"  session 1, {record.session[:16]}, until 2026-07-01 12:01 UTC"
    assert study.account == [head, "    waiting for: bank, bureau, telecom (has said later)"]
    signed = {"bureau": completion(CHARTER, "bureau", record.session)}
    study.note(signed, {"bank": "refused: data"}, [])
    done = "    bureau: done; its ledger says ε = 2.5, δ = 1e-05"
    assert study.account == [head, done, "    bank: refused: data", "    not done: telecom"]
    study.begin(NOW)
    assert study.account == [head, done, "    waiting for: bank, telecom"]
    assert study.progress == "1 of 3 parties are done"


def test_another_session_is_for_those_who_ask_for_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun(folder, "bank")
    study = SessionStudy(folder)
    monkeypatch.delenv(SESSIONS_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=SESSIONS_VARIABLE):
        study.start_over()
    monkeypatch.setenv(SESSIONS_VARIABLE, str(tmp_path / "open"))
    open_ = Sessions.here()
    assert first.deadline is not None
    open_.open(Session.of(CHARTER, first.session, first.deadline, 600.0))
    before = path_of(folder).read_bytes()
    study.start_over()
    assert open_.find(first.session) is None
    assert path_of(folder).read_bytes() == before
    second = SessionStudy(folder).begin(NOW + timedelta(days=2))
    assert second.session != first.session
    assert second.completions == {}
    assert second.deadline == NOW + timedelta(days=2, seconds=60)
    path_of(folder).unlink()
    with pytest.raises(StateError, match="of 2 sessions one is missing"):
        SessionStudy(folder).read()


@pytest.mark.parametrize("cut", [0, 1, 40, -2])
def test_a_damaged_session_stops_the_study_and_stays(folder: Path, cut: int) -> None:
    begun(folder, "bank")
    path = path_of(folder)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    for use in (SessionStudy(folder).read, lambda: SessionStudy(folder).begin(NOW)):
        with pytest.raises(StateError, match=r"0001\.json: the session is damaged"):
            use()
    assert path.read_bytes() == content
    assert len(list(path.parent.glob("*.json"))) == 1


@pytest.mark.parametrize("field", ["session", "deadline", "completions", "failures", "checksum"])
def test_no_field_can_be_changed_unseen(folder: Path, field: str) -> None:
    begun(folder, "bank", "bureau")
    changes = {
        "session": "ab" * 32,
        "deadline": "2030-01-01T00:00:00Z",
        "completions": {},
        "failures": {"bank": "refused: data"},
        "checksum": "sha256:" + "0" * 64,
    }
    content = json.loads(path_of(folder).read_text())
    path_of(folder).write_text(json.dumps({**content, field: changes[field]}))
    with pytest.raises(StateError, match="its checksum is another one"):
        SessionStudy(folder).read()


def test_a_completion_that_the_party_has_not_signed_is_damage(folder: Path) -> None:
    record = begun(folder)
    for said in (
        completion(CHARTER, "bank", record.session, "bureau"),
        completion(CHARTER, "bank", "ab" * 32),
    ):
        forged = record.model_copy(update={"completions": {"bank": said.decode()}})
        forged = forged.model_copy(update={"checksum": forged.computed})
        path_of(folder).write_text(forged.model_dump_json())
        with pytest.raises(StateError, match=r"the session is damaged: .*bank"):
            SessionStudy(folder).read()


def test_a_session_of_another_charter_is_none_of_this_study(folder: Path, tmp_path: Path) -> None:
    begun(folder)
    other = saved(tmp_path / "other", vertical_charter(deadline=61.0))
    path_of(other).parent.mkdir()
    path_of(other).write_bytes(path_of(folder).read_bytes())
    with pytest.raises(StateError, match="another charter"):
        SessionStudy(other).read()


def test_predictions_follow_a_training_that_is_done_as_often_as_the_charter_says(
    tmp_path: Path,
) -> None:
    folder = saved(tmp_path / "asked", vertical_charter(predictions=2))
    study = SessionStudy(folder)
    with pytest.raises(UsageError, match="no model is fitted yet"):
        study.predict()
    fitted = begun(folder, "bank", "bureau")
    with pytest.raises(UsageError, match="no model is fitted yet"):
        study.predict()
    begun(folder, *PARTIES)
    drawn = []
    for _ in range(2):
        study = SessionStudy(folder)
        study.predict()
        assert study.outstanding == list(PARTIES)
        drawn.append(begun(folder, "bureau"))
        again = SessionStudy(folder)
        again.predict()  # one that is not done goes on
        assert again.session == drawn[-1]
        assert ", a prediction, " in again.account[0]
        begun(folder, *PARTIES)
    assert {(one.purpose, one.model) for one in drawn} == {("predict", fitted.session)}
    assert len({fitted.session, *(one.session for one in drawn)}) == 3
    with pytest.raises(UsageError, match="predictions of the charter is 2, and 2 are done"):
        SessionStudy(folder).predict()


def test_another_session_in_the_place_of_a_prediction_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SESSIONS_VARIABLE, str(tmp_path / "open"))
    folder = saved(tmp_path / "asked", vertical_charter(predictions=1))
    fitted = begun(folder, *PARTIES)
    study = SessionStudy(folder)
    study.predict()
    first = begun(folder, "bank")
    study = SessionStudy(folder)
    study.start_over()
    second = begun(folder, *PARTIES)
    assert second.session != first.session
    assert (second.purpose, second.model) == ("predict", fitted.session)


def test_a_study_without_predictions_has_none(folder: Path) -> None:
    begun(folder, *PARTIES)
    with pytest.raises(UsageError, match="predictions of the charter is 0"):
        SessionStudy(folder).predict()
