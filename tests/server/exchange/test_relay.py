"""The relay's decisions: who comes in, who hears whom, who is told what when time passes."""

from datetime import UTC, datetime

import pytest
from conftest import key_of

from fedward_server.exchange.relay import Count, Out, Relay
from fedward_server.exchange.sessions import Session
from fedward_shared.exchange.envelopes import Attendance
from fedward_shared.exchange.hops import BEAT_SECONDS, SILENT_SECONDS, Hop, Refusal

CHARTER, ID = "sha256:" + "1" * 64, "ab" * 32
PARTIES = ("bank", "bureau", "shop")
START = 1_000_000.0
SESSION = Session(
    session=ID,
    charter=CHARTER,
    study="credit",
    parties={name: key_of(name).public.text for name in PARTIES},
    deadline=datetime.fromtimestamp(START + 10_000, UTC),
    patience=600,
)


def challenge(connection: int) -> bytes:
    return connection.to_bytes(32)


def attendance(site: str, connection: int, key: str = "", **changed: str) -> Hop:
    fields = {
        "charter": CHARTER,
        "site": site,
        "session": ID,
        "challenge": challenge(connection).hex(),
    }
    made = Attendance.model_validate(fields | changed)
    return Hop("attendance", payload=made.signed(key_of(key or site)))


class World:
    """A relay, its sessions and a clock."""

    def __init__(self) -> None:
        self.sessions = {ID: SESSION}
        self.now = START
        self.relay = Relay(lambda session: self.sessions.get(session))

    def arrive(self, connection: int, certificate: str = "") -> Out:
        return self.relay.arrive(connection, challenge(connection), certificate, self.now)

    def take(self, connection: int, hop: Hop) -> Out:
        return self.relay.take(connection, hop, self.now)

    def attend(self, site: str, connection: int) -> Out:
        self.arrive(connection, site)
        return self.take(connection, attendance(site, connection))

    def passes(self, seconds: float, *beating: int) -> Out:
        """Second by second, with beats of those connections."""
        out: Out = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 5)
            for connection in beating:
                out += self.take(connection, Hop("beat"))
            out += self.relay.tick(self.now)
        return [(number, hop) for number, hop in out if hop.kind != "beat"]


@pytest.fixture
def world() -> World:
    return World()


def test_parties_hear_of_each_other_and_from_each_other(world: World) -> None:
    assert world.arrive(1, "bank") == [(1, Hop("challenge", payload=challenge(1)))]
    assert world.take(1, attendance("bank", 1)) == []
    assert world.attend("bureau", 2) == [(1, Hop("here", "bureau")), (2, Hop("here", "bank"))]
    frame = Hop("frame", "bureau", b"sealed")
    assert world.take(1, frame) == [(2, Hop("frame", "bank", b"sealed"))]
    assert world.take(2, Hop("opening", "bank", b"{}")) == [(1, Hop("opening", "bureau", b"{}"))]
    assert world.take(1, Hop("frame", "shop", b"lost")) == []  # it is not there
    assert world.relay.counts(ID) == {"bank": Count(2, 10), "bureau": Count(1, 2)}
    assert world.relay.leave(2, world.now) == [(1, Hop("gone", "bureau"))]
    assert world.take(1, frame) == []
    assert world.take(2, Hop("frame", "bank", b"late")) == []
    assert world.attend("bureau", 3) == [(1, Hop("here", "bureau")), (3, Hop("here", "bank"))]


@pytest.mark.parametrize(
    ("hop", "why"),
    [
        (attendance("bank", 1, session="cd" * 32), Refusal.UNKNOWN),
        (attendance("mint", 1), Refusal.STRANGER),
        (attendance("bank", 1, key="shop"), Refusal.ATTENDANCE),
        (attendance("bank", 2), Refusal.ATTENDANCE),  # the challenge of another connection
        (attendance("bank", 1, charter="sha256:" + "2" * 64), Refusal.ATTENDANCE),
        (attendance("bureau", 1), Refusal.CERTIFICATE),
        (Hop("attendance", payload=b"{}"), Refusal.ATTENDANCE),
        (Hop("frame", "bureau", b"x"), Refusal.HOP),
        (Hop("beat"), Refusal.HOP),
    ],
)
def test_an_attendance_that_is_not_right_is_refused(world: World, hop: Hop, why: Refusal) -> None:
    world.attend("shop", 9)
    world.arrive(1, "bank")
    assert world.take(1, hop) == [(1, Hop.refusal(why))]
    assert world.take(1, attendance("bank", 1)) == []  # a challenge is for one answer


def test_without_a_certificate_the_signature_decides(world: World) -> None:
    world.arrive(1, "")
    assert world.take(1, attendance("bank", 1)) == []
    assert world.relay.whose(1) == (ID, "bank")


@pytest.mark.parametrize("kind", ["challenge", "attendance", "here", "gone", "refused"])
def test_what_only_the_relay_says_ends_the_connection(world: World, kind: str) -> None:
    world.attend("bank", 1)
    world.attend("bureau", 2)
    out = world.take(1, Hop(kind, "bureau"))  # type: ignore[arg-type]
    assert out == [(1, Hop.refusal(Refusal.HOP)), (2, Hop("gone", "bank"))]


@pytest.mark.parametrize("peer", ["bank", "mint"])
def test_nobody_talks_to_himself_or_to_a_stranger(world: World, peer: str) -> None:
    world.attend("bank", 1)
    assert world.take(1, Hop("frame", peer, b"x")) == [(1, Hop.refusal(Refusal.STRANGER))]


def test_sessions_do_not_hear_each_other(world: World) -> None:
    other = "cd" * 32
    world.sessions[other] = SESSION.model_copy(update={"session": other})
    world.attend("bank", 1)
    world.arrive(2)
    assert world.take(2, attendance("bureau", 2, session=other)) == []
    assert world.take(1, Hop("frame", "bureau", b"x")) == []


def test_a_second_connection_replaces_the_first(world: World) -> None:
    world.attend("bureau", 1)
    world.attend("bank", 2)
    out = world.attend("bank", 3)
    assert out == [
        (2, Hop.refusal(Refusal.REPLACED)),
        (1, Hop("here", "bank")),
        (3, Hop("here", "bureau")),
    ]
    assert world.take(2, Hop("frame", "bureau", b"old")) == []
    assert world.relay.leave(2, world.now) == []  # nobody is told: bank is there
    assert world.take(1, Hop("frame", "bank", b"x")) == [(3, Hop("frame", "bureau", b"x"))]


def test_a_silent_connection_is_cut_and_a_beating_one_is_not(world: World) -> None:
    world.attend("bank", 1)
    world.attend("bureau", 2)
    world.arrive(3, "shop")  # and never attends
    out = world.passes(SILENT_SECONDS + 5, 1)
    assert out == [
        (2, Hop.refusal(Refusal.SILENT)),
        (1, Hop("gone", "bureau")),
        (3, Hop.refusal(Refusal.SILENT)),
    ]
    assert world.relay.whose(1) == (ID, "bank")


def test_everybody_gets_beats(world: World) -> None:
    world.attend("bank", 1)
    world.relay.tick(world.now)
    world.now += BEAT_SECONDS
    assert (1, Hop("beat")) in world.relay.tick(world.now)
    assert world.relay.tick(world.now) == []


def test_a_party_that_stays_away_ends_the_session_and_is_named(world: World) -> None:
    world.attend("bank", 1)
    world.attend("bureau", 2)
    out = world.passes(SESSION.patience + 5, 1, 2)
    assert out == [(n, Hop.refusal(Refusal.SILENT, "shop")) for n in (1, 2)]
    assert world.attend("bank", 3) == [(3, Hop.refusal(Refusal.OVER))]


def test_nobody_waits_for_a_party_that_is_done(world: World) -> None:
    world.sessions[ID] = SESSION.model_copy(update={"done": ("shop",)})
    world.attend("bank", 1)
    assert world.passes(SESSION.patience + 5, 1) == [(1, Hop.refusal(Refusal.SILENT, "bureau"))]
    del world.sessions[ID]
    world.passes(2)
    world.sessions[ID] = SESSION.model_copy(update={"done": ("bureau", "shop")})
    world.attend("bank", 2)
    assert world.passes(SESSION.patience + 5, 2) == []


def test_who_has_said_done_may_stay_away_until_it_comes_again(world: World) -> None:
    for number, name in enumerate(("bank", "bureau", "shop"), start=1):
        world.attend(name, number)
    assert world.take(3, Hop("done")) == []
    world.relay.leave(3, world.now)
    assert world.passes(SESSION.patience + 5, 1, 2) == []
    world.attend("shop", 4)
    world.relay.leave(4, world.now)
    out = world.passes(SESSION.patience + 5, 1, 2)
    assert out == [(n, Hop.refusal(Refusal.SILENT, "shop")) for n in (1, 2)]


def test_the_deadline_and_the_closing_of_a_session_end_it(world: World) -> None:
    world.attend("bank", 1)
    del world.sessions[ID]
    assert world.relay.tick(world.now)[0] == (1, Hop.refusal(Refusal.OVER))
    assert world.attend("bank", 2) == [(2, Hop.refusal(Refusal.UNKNOWN))]
    world.sessions[ID] = SESSION
    assert world.attend("bank", 3) == []
    world.now = SESSION.deadline.timestamp()
    world.take(3, Hop("beat"))
    assert world.relay.tick(world.now)[0] == (3, Hop.refusal(Refusal.OVER))
    assert world.attend("bank", 4) == [(4, Hop.refusal(Refusal.OVER))]
    assert world.relay.counts(ID) == {}
