"""Two parties and a relay without a network: whatever breaks, what is said arrives once, as it was said.

The network is a list of operations: hops go through the real relay, connections break and are made
again, sites crash and start again from their journals, and hops that were under way are lost then.
"""

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import key_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedward_client.exchange.journal import JOURNAL, Journal
from fedward_client.exchange.party import Party, Seat
from fedward_server.exchange.relay import Out, Relay
from fedward_server.exchange.sessions import Session
from fedward_shared.errors import ExchangeError, StateError
from fedward_shared.exchange.channel import WINDOW, Frame
from fedward_shared.exchange.hops import Hop

CHARTER, ID = "sha256:" + "1" * 64, "ab" * 32
START = 1_000_000.0
PARTIES = ("bank", "bureau")
SITES = st.sampled_from(PARTIES)
SESSION = Session(
    session=ID,
    charter=CHARTER,
    study="credit",
    parties={name: key_of(name).public.text for name in PARTIES},
    deadline=datetime.fromtimestamp(START + 10**6, UTC),
)


def other(site: str) -> str:
    return PARTIES[1 - PARTIES.index(site)]


@dataclass
class Site:
    """A site whose program sends and receives what a list of operations says."""

    name: str
    folder: Path
    connection: int = 0
    outward: deque[Hop] = field(default_factory=deque)
    inward: deque[Hop] = field(default_factory=deque)
    generation: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.folder, ID, key_of(self.name).derive(JOURNAL))
        peer = other(self.name)
        seat = Seat(CHARTER, ID, self.name, key_of(self.name), {peer: key_of(peer).public})
        self.party = Party(seat, self.journal)
        self.generation += 1

    def flush(self) -> None:
        """Each batch is written, and then goes out."""
        batch = self.party.drain()
        self.journal.write(batch.entries)
        self.party.written(batch)
        if self.connection:
            self.outward += batch.hops

    def disconnect(self) -> None:
        self.connection = 0
        self.outward.clear()
        self.inward.clear()
        self.party.disconnected()

    def crash(self) -> None:
        """What was not written is gone."""
        self.disconnect()
        self.journal.close()


class Exchange(RuleBasedStateMachine):
    """`sent` and `received`: what each program has said and heard, before any crash and after."""

    def __init__(self) -> None:
        super().__init__()
        self.resources = ExitStack()
        folder = Path(self.resources.enter_context(TemporaryDirectory()))
        self.relay = Relay({ID: SESSION}.get)
        self.now = START
        self.connections = 0
        self.sites = {name: Site(name, folder / name) for name in PARTIES}
        self.sent: dict[str, list[bytes]] = {name: [] for name in PARTIES}
        self.received: dict[str, list[bytes]] = {name: [] for name in PARTIES}
        self.at: dict[str, tuple[int, int]] = dict.fromkeys(PARTIES, (0, 0))
        """Where each program is: how much it has sent and received."""
        self.kept: dict[str, tuple[int, int]] = dict.fromkeys(PARTIES, (0, 0))
        self.wire: dict[tuple[str, int], bytes] = {}

    @rule(name=SITES)
    def connects(self, name: str) -> None:
        site = self.sites[name]
        if site.connection:
            self.breaks(name)
        self.connections += 1
        site.connection = self.connections
        self._deliver(
            self.relay.arrive(site.connection, site.connection.to_bytes(32), name, self.now)
        )

    @precondition(lambda self: any(site.connection for site in self.sites.values()))
    @rule(name=SITES, noticed=st.booleans())
    def breaks(self, name: str, noticed: bool = True) -> None:
        site = self.sites[name]
        before = site.connection
        site.disconnect()
        if noticed:  # or the relay learns it when the party comes again
            self._deliver(self.relay.leave(before, self.now))

    @rule(name=SITES, size=st.integers(0, 40))
    def sends(self, name: str, size: int) -> None:
        site, peer = self.sites[name], other(name)
        if not site.party.ready(peer):
            return
        number, received = self.at[name]
        fresh = b"%s %d, try %d" % (name.encode(), number, site.generation) + bytes(size)
        said = site.party.send(peer, fresh)
        self.at[name] = number + 1, received
        if number < len(self.sent[name]) and self._is_final(name, number):
            assert said == self.sent[name][number]
        self.sent[name][number:] = [said, *self.sent[name][number + 1 :]]

    @rule(name=SITES)
    def receives(self, name: str) -> None:
        message = self.sites[name].party.receive(other(name))
        if message is None:
            return
        sent, number = self.at[name]
        self.at[name] = sent, number + 1
        if number < len(self.received[name]):
            assert message == self.received[name][number]
        else:
            self.received[name].append(message)

    @rule(name=SITES)
    def writes(self, name: str) -> None:
        self.sites[name].flush()

    @rule(name=SITES)
    def ticks(self, name: str) -> None:
        self.sites[name].party.tick()

    @rule(name=SITES)
    def keeps(self, name: str) -> None:
        site = self.sites[name]
        state = b"%d %d" % self.at[name]
        site.party.checkpoint(state)
        site.flush()
        self.kept[name] = self.at[name]

    @rule(name=SITES)
    def crashes(self, name: str) -> None:
        site = self.sites[name]
        before = site.connection
        site.crash()
        self._deliver(self.relay.leave(before, self.now))
        site.start()
        self.at[name] = self.kept[name]
        state = site.journal.state
        assert state == (b"%d %d" % self.kept[name] if state else b"")

    @rule(name=SITES, count=st.integers(1, 8))
    def goes_out(self, name: str, count: int) -> None:
        site = self.sites[name]
        for _ in range(min(count, len(site.outward))):
            hop = site.outward.popleft()
            self._noted(name, hop)
            self._deliver(self.relay.take(site.connection, hop, self.now))

    @rule(name=SITES, count=st.integers(1, 8), again=st.booleans())
    def comes_in(self, name: str, count: int, again: bool) -> None:
        site = self.sites[name]
        for _ in range(min(count, len(site.inward))):
            hop = Hop.decode(site.inward.popleft().encode())
            site.party.take(hop)
            if again and hop.kind in ("frame", "opening"):
                site.party.take(hop)  # repeated on the way

    @rule(name=SITES)
    def two_change_places(self, name: str) -> None:
        inward = self.sites[name].inward
        if len(inward) > 1 and {inward[0].kind, inward[1].kind} == {"frame"}:
            inward[0], inward[1] = inward[1], inward[0]

    @invariant()
    def what_is_heard_is_what_was_said(self) -> None:
        for name in PARTIES:
            heard = self.received[name]
            assert heard == self.sent[other(name)][: len(heard)]

    @invariant()
    def memory_is_bounded(self) -> None:
        for site in self.sites.values():
            for end in site.party._ends.values():
                assert len(end._inbox) <= 2 * WINDOW
                assert len(end._arrived) <= WINDOW

    def teardown(self) -> None:
        try:
            for name in PARTIES:
                self.connects(name)
            for _ in range(200):
                for name in PARTIES:
                    self.sites[name].party.tick()
                    self.sites[name].flush()
                    self.goes_out(name, 100)
                    self.comes_in(name, 100, False)
                    self.receives(name)
            for name in PARTIES:
                at = self.at[name][0]
                assert self.received[other(name)][:at] == self.sent[name][:at]
                assert self.sites[name].party.idle()
        finally:
            for site in self.sites.values():
                site.journal.close()
            self.resources.close()

    def _is_final(self, name: str, number: int) -> bool:
        """Whether that message may have left: it has to stay what it was."""
        return (name, number + 1) in self.wire

    def _noted(self, name: str, hop: Hop) -> None:
        """A number is on the wire with one envelope alone, and only from the journal."""
        if hop.kind != "frame":
            return
        frame = Frame.decode(hop.payload)
        if frame.kind == "data":
            assert self.wire.setdefault((name, frame.number), frame.sealed) == frame.sealed

    def _deliver(self, out: Out) -> None:
        for connection, hop in out:
            for site in self.sites.values():
                if site.connection == connection and hop.kind != "refused":
                    site.inward.append(hop)


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)


@pytest.fixture
def bank(tmp_path: Path) -> Site:
    return Site("bank", tmp_path / "bank")


@pytest.fixture
def bureau(tmp_path: Path) -> Site:
    return Site("bureau", tmp_path / "bureau")


def meet(bank: Site, bureau: Site) -> None:
    """Both hear of each other, and exchange their openings."""
    for one, two in ((bank, bureau), (bureau, bank)):
        one.connection = 1
        one.party.take(Hop("here", two.name))
        one.flush()
    pass_on(bank, bureau)
    pass_on(bureau, bank)


def pass_on(sender: Site, receiver: Site) -> list[Hop]:
    sender.flush()
    hops = [Hop(hop.kind, sender.name, hop.payload) for hop in sender.outward]
    sender.outward.clear()
    for hop in hops:
        receiver.party.take(hop)
    return hops


def test_nothing_goes_out_or_is_confirmed_before_it_is_on_disk(bank: Site, bureau: Site) -> None:
    meet(bank, bureau)
    bank.flush()
    bank.party.send("bureau", b"one")
    batch = bank.party.drain()
    with pytest.raises(ExchangeError, match="is not there"):
        bank.journal.sealed("bureau", "sent", 1)
    bank.journal.write(batch.entries)
    (hop,) = batch.hops
    assert bank.journal.sealed("bureau", "sent", 1) == Frame.decode(hop.payload).sealed
    bureau.flush()
    bureau.outward.clear()
    bureau.party.take(Hop("frame", "bank", hop.payload))
    assert bureau.party.receive("bank") == b"one"
    bureau.party.tick()
    assert bureau.party.drain().hops == []  # drained, and never written: not confirmed
    bureau.party.tick()
    assert bureau.party.drain().hops == []


def test_a_forged_envelope_ends_it(bank: Site, bureau: Site) -> None:
    meet(bank, bureau)
    bank.party.send("bureau", b"one")
    batch = bank.party.drain()
    frame = Frame.decode(batch.hops[-1].payload)
    forged = Frame("data", 1, bytes([frame.sealed[0] ^ 1]) + frame.sealed[1:])
    with pytest.raises(ExchangeError, match="envelope 1 of bank does not open"):
        bureau.party.take(Hop("frame", "bank", forged.encode()))


def test_a_party_with_whom_there_is_nothing_to_talk_about_is_not_heard(
    bank: Site, bureau: Site
) -> None:
    meet(bank, bureau)
    bank.party.send("bureau", b"one")
    frame = Frame.decode(bank.party.drain().hops[-1].payload)
    before = bureau.party.drain()
    for hop in (Hop("here", "shop"), Hop("frame", "shop", frame.encode()), Hop("gone", "shop")):
        bureau.party.take(hop)
    assert bureau.party.drain().hops == before.hops[:0]
    assert bureau.party.receive("bank") is None


def test_a_peer_that_is_done_is_not_waited_for(bank: Site, bureau: Site) -> None:
    meet(bank, bureau)
    bank.party.send("bureau", b"the last one")
    bank.flush()
    assert not bank.party.idle()
    assert bank.party.idle(frozenset({"bureau"}))


def test_a_fast_sender_waits_for_a_slow_program(bank: Site, bureau: Site) -> None:
    meet(bank, bureau)
    for _ in range(WINDOW):
        bank.party.send("bureau", b"x")
    pass_on(bank, bureau)
    bureau.party.tick()
    pass_on(bureau, bank)
    assert not bank.party.ready("bureau")
    assert bureau.party.receive("bank") == b"x"
    bureau.party.tick()
    pass_on(bureau, bank)
    assert bank.party.ready("bureau")


def test_a_checkpoint_forgets_what_nobody_asks_for_again(bank: Site, bureau: Site) -> None:
    meet(bank, bureau)
    for number in range(3):
        bank.party.send("bureau", b"%d" % number)
        pass_on(bank, bureau)
        assert bureau.party.receive("bank") == b"%d" % number
        bureau.flush()
        bureau.party.tick()
        pass_on(bureau, bank)
    for site, peer, direction in ((bank, "bureau", "sent"), (bureau, "bank", "received")):
        site.party.checkpoint(b"three")
        site.flush()
        with pytest.raises(ExchangeError, match="is not there"):
            site.journal.sealed(peer, direction, 3)  # type: ignore[arg-type]
        site.crash()
        site.start()
        assert site.journal.state == b"three"
    assert bank.party.idle()
    meet(bank, bureau)
    bank.party.send("bureau", b"3")
    pass_on(bank, bureau)
    assert bureau.party.receive("bank") == b"3"


def test_a_journal_shows_nothing_and_opens_for_its_site_alone(bank: Site, bureau: Site) -> None:
    meet(bank, bureau)
    bank.party.send("bureau", b"a secret of customers")
    bank.party.checkpoint(b"weights that nobody sees")
    bank.flush()
    path = bank.journal.path
    assert path.stat().st_mode & 0o777 == 0o600
    bank.crash()
    data = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"secret" not in data
    assert b"weights" not in data
    stranger = Journal(path.parent, ID, key_of("thief").derive(JOURNAL))
    with pytest.raises(StateError, match="cannot be opened with this site's key"):
        stranger.peer("bureau")
