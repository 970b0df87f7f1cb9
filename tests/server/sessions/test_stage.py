"""A session's end: each party is done by its own signature, or named, in whatever order they answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.sessions.parties import PARTIES, completion, vertical_charter

from fedward_server.reasons import NO_REPLY, SITE_ERROR
from fedward_server.refusals import MEANING
from fedward_server.sessions.stage import SessionStage
from fedward_shared.errors import RefusalCode
from fedward_shared.messages import Answer, Noted, Refusal, SessionDone
from fedward_shared.vertical.charter import VerticalCharter

CHARTER = vertical_charter()
OTHER = vertical_charter(deadline=61.0)
SESSION, ANOTHER = "ab" * 32, "cd" * 32


def opened() -> SessionStage:
    return SessionStage(CHARTER, SESSION, 10.0)


def done(site: str, signer: str = "", charter: VerticalCharter = CHARTER) -> SessionDone:
    return SessionDone(site, completion(charter, site, SESSION, signer))


GOOD = {site: done(site) for site in PARTIES}
WRONG: dict[str, tuple[Answer, str]] = {
    "of another party": (
        SessionDone("bank", completion(CHARTER, "bureau", SESSION)),
        "not signed by bank",
    ),
    "as another party": (done("bureau"), "answered another question"),
    "forged": (done("bank", "bureau"), "not signed by bank"),
    "of another session": (
        SessionDone("bank", completion(CHARTER, "bank", ANOTHER)),
        "has completed another session",
    ),
    "of another charter": (done("bank", charter=OTHER), "it is about charter"),
    "garbage": (SessionDone("bank", b"\xff"), "not canonical JSON"),
    "something else": (Noted("bank"), "answered another question"),
    "a refusal": (
        Refusal("bank", RefusalCode.ALIGNMENT),
        r"refused: alignment \(too few records in common",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_completion_fails_the_party_and_closes_the_session(what: str) -> None:
    stage, (answer, said) = opened(), WRONG[what]
    stage.offer("bureau", GOOD["bureau"])
    stage.offer("bank", answer)
    assert stage.closed
    assert not stage.sufficient
    with pytest.raises(ValueError, match=said):
        raise ValueError(stage.failed["bank"])
    assert stage.outstanding == {"telecom"}
    stage.offer("bank", GOOD["bank"])  # too late
    assert stage.signed.keys() == {"bureau"}


def test_who_says_later_is_outstanding_until_it_is_done_or_the_time_is_over() -> None:
    stage = opened()
    for site in ("bank", "bureau"):
        stage.offer(site, Refusal(site, RefusalCode.LATER))
    assert not stage.closed
    assert stage.postponed == {"bank", "bureau"}
    stage.offer("bank", GOOD["bank"])
    stage.tick(9.9)
    assert stage.outstanding == {"bureau", "telecom"}
    stage.tick(10.0)
    assert stage.failed == {"bureau": NO_REPLY, "telecom": NO_REPLY}


def test_what_is_done_already_is_waited_for_no_more() -> None:
    signed = {site: GOOD[site].completion for site in PARTIES}
    assert SessionStage(CHARTER, SESSION, 10.0, signed).sufficient


def test_each_refusal_is_said_in_words() -> None:
    assert MEANING.keys() == set(RefusalCode)


answers = st.sampled_from(
    [
        *((site, answer) for site in PARTIES for answer, _ in WRONG.values()),
        *((site, GOOD[site]) for site in PARTIES),
        *((site, GOOD[site]) for site in PARTIES),
        *((site, Refusal(site, RefusalCode.LATER)) for site in PARTIES),
        *((site, None) for site in PARTIES),
    ]
)


@given(st.lists(answers, max_size=12), st.floats(min_value=0, max_value=20))
def test_each_party_is_done_by_its_own_signature_or_named(
    sent: list[tuple[str, Answer | None]], now: float
) -> None:
    stage = opened()
    for site, answer in sent:
        before = stage.outstanding
        if answer is None:
            stage.fail(site, SITE_ERROR)
        else:
            stage.offer(site, answer)
        assert stage.outstanding <= before
        assert before - stage.outstanding <= {site}
    stage.tick(now)
    for site, data in stage.signed.items():
        assert data == GOOD[site].completion
    groups = (stage.signed.keys(), stage.failed.keys(), stage.outstanding)
    assert sorted(site for group in groups for site in group) == sorted(PARTIES)
    assert stage.sufficient == (stage.signed.keys() == set(PARTIES))
    assert stage.closed == (stage.sufficient or bool(stage.failed))
    assert now < 10.0 or stage.closed
