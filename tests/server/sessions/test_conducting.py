"""A vertical study over a grid: who is called to which session, and how it ends."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from server.sessions.parties import (
    PARTIES,
    Act,
    PartiesGrid,
    Party,
    Silence,
    Unwilling,
    completion,
    conduct,
    saved,
    vertical_charter,
)

from fedward_server import asking
from fedward_server.exchange.sessions import Sessions
from fedward_server.observer import Observer
from fedward_server.sessions.conducting import Conducting
from fedward_server.sessions.studies import SessionStudy
from fedward_shared.errors import CohortError, RefusalCode
from fedward_shared.messages import Answer, Refusal, SessionCall, SessionDone

CHARTER = vertical_charter()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "study", CHARTER)


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path / "sessions")


def parties(*acts: Act) -> list[Party]:
    """Three, of which the bank acts so."""
    return [Party(CHARTER, name, *(acts if name == "bank" else ())) for name in PARTIES]


def called(those: Sequence[Party]) -> list[int]:
    return [len(party.sessions) for party in those]


def later(party: Party, _: SessionCall) -> Answer:
    return Refusal(party.name, RefusalCode.LATER)


def refuses(party: Party, _: SessionCall) -> Answer:
    return Refusal(party.name, RefusalCode.DATA)


def goes_away(party: Party, _: SessionCall) -> Answer:
    raise Silence(gone=3)


def is_silent(party: Party, _: SessionCall) -> Answer:
    raise Silence


def is_killed(party: Party, _: SessionCall) -> Answer:
    """As the coordinator's own process may be, at any time."""
    raise KeyboardInterrupt


def fails(party: Party, _: SessionCall) -> None:
    return None


def test_all_parties_do_their_part_of_one_session(folder: Path, sessions: Sessions) -> None:
    seen = []

    def looks(party: Party, _: SessionCall) -> Answer:
        seen.append(sessions.find(party.sessions[-1]))
        return party.done()

    three = parties(looks)
    study = conduct(folder, three, sessions)
    (session,) = {session for party in three for session in party.sessions}
    assert called(three) == [1, 1, 1]
    (found,) = seen
    assert found is not None
    assert found.done == ()
    assert found.parties == {p.name: p.key for p in CHARTER.participants}
    assert found.patience == 600.0
    assert study.session is not None
    assert found.deadline == study.session.deadline
    assert sessions.find(session) is None
    assert study.outstanding == []
    assert [line.split("; ")[-1] for line in study.account[1:]] == [
        "its ledger says ε = 2.5, δ = 1e-05"
    ] * 3
    again = parties()
    conduct(folder, again, sessions)
    assert called(again) == [0, 0, 0]


def test_a_party_that_refuses_ends_the_session_which_can_be_gone_on_with(
    folder: Path, sessions: Sessions
) -> None:
    first = parties(refuses)
    with pytest.raises(
        CohortError, match=r"^bank: refused: data \(its data cannot be used\); not "
    ):
        conduct(folder, first, sessions)
    (session,) = first[0].sessions
    assert sessions.find(session) is None
    study = SessionStudy(folder)
    study.read()
    assert "    bank: refused: data (its data cannot be used)" in study.account
    second = parties()
    study = conduct(folder, second, sessions)
    assert study.outstanding == []
    assert second[0].sessions == [session]


def test_a_party_that_says_later_is_called_again_when_it_is_due_and_not_before(
    folder: Path, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LATER_SECONDS", 0.05)
    three = parties(later, later)
    conduct(folder, three, sessions)
    assert called(three) == [3, 1, 1]
    assert len(set(three[0].sessions)) == 1


def test_a_party_that_is_at_it_is_not_called_once_more_because_it_said_later_before(
    sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LATER_SECONDS", 0.05)
    short = vertical_charter(deadline=2.0)
    bank = Party(short, "bank", later, is_silent)
    others = [Party(short, name) for name in PARTIES[1:]]
    with pytest.raises(CohortError):
        conduct(saved(tmp_path / "short", short), [bank, *others], sessions)
    assert len(bank.sessions) == 2


def test_a_party_that_is_killed_and_comes_back_is_called_to_the_same_session(
    folder: Path, sessions: Sessions
) -> None:
    three = parties(goes_away)
    conduct(folder, three, sessions)
    assert called(three) == [2, 1, 1]
    assert len(set(three[0].sessions)) == 1


def test_a_party_that_never_answers_is_named_when_the_time_is_over(
    tmp_path: Path, sessions: Sessions
) -> None:
    short = vertical_charter(deadline=0.5)
    folder = saved(tmp_path / "short", short)
    three = [Party(short, name, *([is_silent] if name == "bank" else [])) for name in PARTIES]
    said = r"^bank: no reply before the deadline; its time is over; .*--new-session"
    with pytest.raises(CohortError, match=said):
        conduct(folder, three, sessions)
    again = [Party(short, name) for name in PARTIES]
    with pytest.raises(CohortError, match=said):  # a session's time is over once
        conduct(folder, again, sessions)
    assert called(again) == [0, 0, 0]


def test_a_process_that_fails_ends_the_session(folder: Path, sessions: Sessions) -> None:
    with pytest.raises(CohortError, match="bank: the site's process failed"):
        conduct(folder, parties(fails), sessions)


def test_another_partys_word_is_not_the_banks(folder: Path, sessions: Sessions) -> None:
    def lies(party: Party, _: SessionCall) -> Answer:
        return SessionDone("bank", completion(CHARTER, "bank", party.sessions[-1], "bureau"))

    with pytest.raises(CohortError, match=r"bank: .*not signed by bank"):
        conduct(folder, parties(lies), sessions)


def test_a_serverapp_that_starts_again_goes_on_with_the_same_session(
    folder: Path, sessions: Sessions
) -> None:
    first = parties()
    first[2].acts = [is_killed]
    with pytest.raises(KeyboardInterrupt):
        conduct(folder, first, sessions)
    assert called(first) == [1, 1, 1]
    second = parties()
    study = conduct(folder, second, sessions)
    assert called(second) == [0, 0, 1]  # the others' completions are on disk
    assert second[2].sessions == first[2].sessions
    assert study.outstanding == []


def test_nothing_begins_without_all_parties(folder: Path, sessions: Sessions) -> None:
    three = parties()
    with pytest.raises(CohortError, match=r"^telecom: not connected; a session needs all"):
        conduct(folder, three[:2], sessions)
    three[2] = Unwilling(CHARTER, "telecom")
    with pytest.raises(CohortError, match=r"^telecom: refused: charter; "):
        conduct(folder, three, sessions)
    assert called(three) == [0, 0, 0]
    study = SessionStudy(folder)
    study.read()
    assert not study.begun


def test_who_is_done_need_not_be_there_any_more(folder: Path, sessions: Sessions) -> None:
    """Neither at the SuperLink nor in the exchange, which would end the session else."""
    three = parties()
    three[2].acts = [refuses]
    with pytest.raises(CohortError, match="telecom: refused: data"):
        conduct(folder, three, sessions)
    study = SessionStudy(folder)
    waited: list[set[str]] = []

    def looks(party: Party, _: SessionCall) -> Answer:
        found = sessions.find(party.sessions[-1])
        assert found is not None
        waited.append(found.parties.keys() - set(found.done))
        return party.done()

    alone = Party(CHARTER, "telecom", looks)
    Conducting(study, PartiesGrid([alone]), Observer(), sessions).run()
    assert study.outstanding == []
    assert waited == [{"telecom"}]


def test_a_prediction_asks_the_model_of_the_training(tmp_path: Path, sessions: Sessions) -> None:
    charter = vertical_charter(predictions=1)
    folder = saved(tmp_path / "asked", charter)
    three = [Party(charter, name) for name in PARTIES]
    conduct(folder, three, sessions)
    SessionStudy(folder).predict()
    three[0].acts = [refuses]
    with pytest.raises(CohortError, match="bank: refused: data"):  # nobody there asks anything
        conduct(folder, three, sessions)
    study = conduct(folder, three, sessions)
    assert study.outstanding == []
    for party in three:
        fitted, *asked = party.asked
        assert (fitted.purpose, fitted.model) == ("fit", None)
        assert {(one.purpose, one.model) for one in asked} == {("predict", fitted.session)}
        assert len({one.session for one in asked}) == 1
