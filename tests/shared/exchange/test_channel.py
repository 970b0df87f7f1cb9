"""Whatever the connection does, each message is handed on once, in order, and as it was sent."""

from collections import deque

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.channel import MAX_FRAME, WINDOW, Channel, Frame
from fedward_shared.exchange.envelopes import MAX_MESSAGE, Envelopes, Opening

CHARTER, SESSION = "sha256:" + "1" * 64, "ab" * 32
KEYS = {
    site: X25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    for number, site in enumerate(("bank", "bureau", "shop"), start=1)
}


def opening(site: str, peer: str, session: str = SESSION, charter: str = CHARTER) -> Opening:
    key = KEYS[site].public_key().public_bytes_raw().hex()
    return Opening(charter=charter, site=site, session=session, peer=peer, key=key)


def envelopes(site: str = "bank", peer: str = "bureau") -> Envelopes:
    return Envelopes.between(KEYS[site], opening(site, peer), opening(peer, site))


def pair() -> tuple[Channel, Channel]:
    return Channel(envelopes()), Channel(envelopes("bureau", "bank"))


class Connections(RuleBasedStateMachine):
    """A sender and a receiver, with a wire that loses all when it breaks, repeats and reorders."""

    def __init__(self) -> None:
        super().__init__()
        self.sender, self.receiver = pair()
        self.sent: list[bytes] = []
        self.handed: list[bytes] = []
        self.there: deque[bytes] = deque()
        self.back: deque[bytes] = deque()
        self.wire: dict[int, bytes] = {}

    @precondition(lambda self: self.sender.ready)
    @rule(message=st.binary(max_size=40))
    def send(self, message: bytes) -> None:
        frame = self.sender.send(message)
        self.sent.append(message)
        self.there.append(frame.encode())

    @rule()
    def breaks(self) -> None:
        self.there = deque(frame.encode() for frame in self.sender.resume())
        self.back = deque(frame.encode() for frame in self.receiver.resume())

    @precondition(lambda self: self.there)
    @rule(repeated=st.booleans(), at=st.integers(0, 3))
    def arrives(self, repeated: bool, at: int) -> None:
        self.there.rotate(-min(at, len(self.there) - 1))
        data = self.there[0] if repeated else self.there.popleft()
        frame = Frame.decode(data)
        if frame.kind == "data":
            assert self.wire.setdefault(frame.number, data) == data  # sealed once
        self.handed += self.receiver.take(frame)

    @rule(part=st.floats(0, 1))
    def is_safe(self, part: float) -> None:
        before = self.receiver._safe
        count = before + int(part * (len(self.handed) - before))
        self.back.append(self.receiver.safe(count).encode())

    @precondition(lambda self: self.back)
    @rule()
    def is_confirmed(self) -> None:
        self.sender.take(Frame.decode(self.back.popleft()))

    @invariant()
    def each_is_handed_on_once_and_in_order(self) -> None:
        assert self.handed == self.sent[: len(self.handed)]

    def teardown(self) -> None:
        self.breaks()
        while self.there:
            self.arrives(False, 0)
        assert self.handed == self.sent
        self.back.append(self.receiver.safe(len(self.handed)).encode())
        while self.back:
            self.is_confirmed()
        assert self.sender.idle


TestConnections = Connections.TestCase
TestConnections.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_sender_waits_for_a_slow_peer() -> None:
    sender, receiver = pair()
    sent = [sender.send(b"%d" % number) for number in range(WINDOW)]
    assert not sender.ready
    with pytest.raises(ExchangeError, match="bureau has not confirmed 64 messages"):
        sender.send(b"more")
    for frame in sent:
        receiver.take(frame)
    sender.take(receiver.safe(1))
    assert sender.ready


def test_what_a_peer_cannot_have_sent_is_refused_and_changes_nothing() -> None:
    sender, receiver = pair()
    first = sender.send(b"first")
    forged = bytearray(first.sealed)
    forged[0] ^= 1
    for frame in (
        Frame("data", 1, bytes(forged)),
        Frame("data", 2, first.sealed),  # reordered
        Frame("data", WINDOW + 1, first.sealed),
        Frame("data", 0, first.sealed),
        Frame("confirm", 1),  # of what was never sent
    ):
        with pytest.raises(ExchangeError):
            receiver.take(frame)
    assert receiver.take(first) == [b"first"]
    assert receiver.take(first) == []  # replayed
    for count in (2, -1):
        with pytest.raises(ExchangeError, match="messages are safe"):
            receiver.safe(count)


def test_an_envelope_opens_for_its_pair_session_and_direction_alone() -> None:
    sealed = envelopes().seal(1, b"batch")
    assert envelopes("bureau", "bank").open(1, sealed) == b"batch"
    others = [
        envelopes(),  # back to its sender
        envelopes("shop", "bank"),
        Envelopes.between(
            KEYS["bureau"],
            opening("bureau", "bank", "cd" * 32),
            opening("bank", "bureau", "cd" * 32),
        ),
        Envelopes.between(
            KEYS["bureau"],
            opening("bureau", "bank", charter="sha256:" + "2" * 64),
            opening("bank", "bureau", charter="sha256:" + "2" * 64),
        ),
    ]
    for other in others:
        with pytest.raises(ExchangeError, match="does not open"):
            other.open(1, sealed)


@pytest.mark.parametrize(
    ("theirs", "match"),
    [
        (opening("bureau", "bank", "cd" * 32), "another charter, session or pair"),
        (opening("bureau", "bank", charter="sha256:" + "2" * 64), "another charter"),
        (opening("shop", "bank"), "another charter, session or pair"),
        (opening("bureau", "shop"), "is for shop, not bank"),
        (opening("bureau", "bank").model_copy(update={"key": "0" * 64}), "no X25519 key"),
    ],
)
def test_openings_that_do_not_belong_together_are_refused(theirs: Opening, match: str) -> None:
    with pytest.raises(ExchangeError, match=match):
        Envelopes.between(KEYS["bank"], opening("bank", "bureau"), theirs)


def test_sizes_are_bounded() -> None:
    sender, receiver = pair()
    with pytest.raises(ExchangeError, match="the most is"):
        sender.send(bytes(MAX_MESSAGE + 1))
    frame = sender.send(bytes(MAX_MESSAGE))
    assert len(frame.encode()) == MAX_FRAME
    assert receiver.take(Frame.decode(frame.encode())) == [bytes(MAX_MESSAGE)]
    assert frame.number == 1  # the one that was too long has no number


@given(st.binary(max_size=64))
def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    try:
        frame = Frame.decode(data)
    except ExchangeError:
        return
    assert frame.encode() == data
