"""Worker and trusted side over a real socket: the same answers, and nobody else gets any."""

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import key_of, small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.boundary import wire
from fedward_client.boundary.caller import Caller
from fedward_client.boundary.listener import Listener
from fedward_client.core import Grant, Offer
from fedward_shared.errors import BudgetExceeded, FedwardError, RefusalCode, StateError
from fedward_shared.messages import (
    UNSHARED,
    Hello,
    MaskAnswer,
    MaskRequest,
    Noted,
    ReceiptNote,
    Refusal,
    Sharing,
    Update,
    Welcome,
)
from fedward_shared.records import LeftOut

DIGEST = "sha256:" + "0" * 64
SHARING = Sharing(b"\x01sharers", b"\xffenvelopes")
OFFER = Offer(
    site="north",
    charter=small_charter(DIGEST),
    initial=b"\x00tensors",
    base_model=Path("/models/bert"),
    data=Path("/data/Fälle.jsonl"),
    owner="patient",
    left_out=LeftOut.of("patient", ["4711", "0815"]),
    columns={"text": "Befund"},
    threads=3,
    cache=Path("/cache"),
)


@dataclass
class Said:
    """A core that says what it is told to say, and remembers what it was asked."""

    answer: object = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def _say(self, *asked: object) -> object:
        self.asked.append(asked)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def greet(self, hello: Hello) -> object:
        return self._say("greet", hello)

    def offer(self, charter: str, receipt: bytes) -> object:
        return self._say("offer", charter, receipt)

    def reserve(
        self, charter: str, request: bytes, adapter: str, sharing: Sharing = UNSHARED
    ) -> object:
        return self._say("reserve", charter, request, adapter, sharing)

    def clear(
        self, booking: int, update: bytes, norms: str = "", sharing: Sharing = UNSHARED
    ) -> object:
        return self._say("clear", booking, update, norms, sharing)

    def mask(self, asked: MaskRequest) -> object:
        return self._say("mask", asked)

    def note(self, note: ReceiptNote) -> object:
        return self._say("note", note)

    def refuse(self, charter: str, answers: str, code: RefusalCode) -> object:
        return self._say("refuse", charter, answers, code)


@dataclass
class Counter:
    """A listener, what it was told, and a caller."""

    said: Said
    caller: Caller
    path: Path
    answered: list[object]


def counter(folder: Path, allowed: frozenset[int]) -> Iterator[Counter]:
    said, answered = Said(), list[object]()
    path = folder / "site.sock"
    listener = Listener(path, said, answered.append, allowed)  # type: ignore[arg-type]
    listener.start()
    yield Counter(said, Caller(path), path, answered)
    listener.close()
    assert not path.exists()


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Counter]:
    yield from counter(tmp_path, frozenset({os.getuid()}))


def test_every_call_arrives_as_it_was_made_and_so_does_every_answer(at: Counter) -> None:
    update = Update("north", b'{"d":1}', bytes(range(256)) * 5000)
    at.said.answer = welcome = Welcome("north", b"\xff\x00decision", b"")
    assert at.caller.greet(Hello(DIGEST, "ab")) == welcome
    at.said.answer = OFFER
    assert at.caller.offer(DIGEST, b"receipt") == OFFER
    at.said.answer = grant = Grant(7, 3, DIGEST, '{"head":"0.5"}')
    assert at.caller.reserve(DIGEST, b"request", DIGEST) == grant
    at.said.answer = update
    assert at.caller.reserve(DIGEST, b"request", DIGEST) == update
    at.said.answer = masked = Update("north", b"{}", b"\x00masked", masked=True)
    assert at.caller.clear(7, update.update, '{"head":"0.4"}', SHARING) == masked
    at.said.answer = keys = MaskAnswer("north", "keys", b"\xff")
    asked = MaskRequest(DIGEST, b"request", "keys", b"\x00parcel")
    assert at.caller.mask(asked) == keys
    at.said.answer = Noted("north")
    assert at.caller.note(ReceiptNote(DIGEST, b"\x80")) == Noted("north")
    at.said.answer = refusal = Refusal("north", RefusalCode.BUDGET, b"objection")
    assert at.caller.refuse(DIGEST, "00", RefusalCode.BUDGET) == refusal
    assert at.said.asked == [
        ("greet", Hello(DIGEST, "ab")),
        ("offer", DIGEST, b"receipt"),
        ("reserve", DIGEST, b"request", DIGEST, UNSHARED),
        ("reserve", DIGEST, b"request", DIGEST, UNSHARED),
        ("clear", 7, update.update, '{"head":"0.4"}', SHARING),
        ("mask", asked),
        ("note", ReceiptNote(DIGEST, b"\x80")),
        ("refuse", DIGEST, "00", RefusalCode.BUDGET),
    ]
    # Whoever guards the way out has heard of each answer.
    assert at.answered == [
        welcome,
        OFFER,
        grant,
        update,
        masked,
        keys,
        Noted("north"),
        refusal,
    ]


def test_of_an_error_the_fixed_word_alone_crosses(at: Counter) -> None:
    at.said.answer = BudgetExceeded("patient 4711 was too dear")
    with pytest.raises(FedwardError) as caught:
        at.caller.offer(DIGEST, b"")
    assert caught.value.refusal is RefusalCode.BUDGET
    assert "4711" not in str(caught.value)
    assert at.answered == []


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02{}" + bytes(8),
        b"\x00\x00\x00\x02[]" + bytes(8),
        (2**27).to_bytes(4, "big"),
        wire.encode(wire.Frame("open_sesame")),
        wire.encode(wire.Frame("clear", {"booking": "7"})),
        wire.encode(wire.Frame("refuse", {"charter": "", "answers": "", "code": "patient 4711"})),
    ],
)
def test_whatever_one_caller_sends_the_next_is_answered(at: Counter, sent: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(at.path))
        rude.sendall(sent)
        rude.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while rude.recv(4096):
                pass
    at.said.answer = Noted("north")
    assert at.caller.note(ReceiptNote(DIGEST, b"")) == Noted("north")
    assert at.said.asked == [("note", ReceiptNote(DIGEST, b""))]


def test_a_bug_of_the_trusted_side_leaves_it_standing(at: Counter) -> None:
    at.said.answer = ZeroDivisionError("x")
    with pytest.raises(StateError, match="has gone"):
        at.caller.offer(DIGEST, b"")
    at.said.answer = Noted("north")
    assert at.caller.note(ReceiptNote(DIGEST, b"")) == Noted("north")


def test_a_user_who_is_not_invited_gets_no_answer(tmp_path: Path) -> None:
    for at in counter(tmp_path, frozenset({os.getuid() + 1})):
        with pytest.raises(StateError, match=r"site\.sock: the site's daemon does not answer|gone"):
            at.caller.greet(Hello(DIGEST, "ab"))
        assert at.said.asked == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_the_kernel_says_who_calls(tmp_path: Path) -> None:
    for at in counter(tmp_path, frozenset({os.getuid()})):
        at.path.chmod(0o666)
        link = Path("/tmp") / f"fedward-{os.getpid()}.sock"  # pytest's own folders are root's alone
        at.path.rename(link)
        try:
            told = as_nobody(link)
        finally:
            link.rename(at.path)
        assert told == b""
        assert at.said.asked == []


def as_nobody(path: Path) -> bytes:
    """What another user is told at the socket; a process of its own, which runs nothing else."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                os.write(writer, b"connected " + connection.recv(9))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read()
    os.waitpid(child, 0)
    assert said.startswith(b"connected ")
    return said.removeprefix(b"connected ")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"nobody\.sock: the site's daemon does not answer"):
        Caller(tmp_path / "nobody.sock").greet(Hello(DIGEST, "ab"))


def test_a_place_where_no_socket_can_be(tmp_path: Path) -> None:
    for place in (tmp_path / ("x" * 120), tmp_path / "missing" / "site.sock"):
        with pytest.raises(StateError, match="cannot be made"):
            Listener(place, Said(), lambda _: None, frozenset())  # type: ignore[arg-type]


def test_a_folder_may_lie_deep(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    for at in counter(deep, frozenset({os.getuid()})):
        at.said.answer = Noted("north")
        assert at.caller.note(ReceiptNote(DIGEST, b"")) == Noted("north")


@pytest.mark.parametrize(
    "frame",
    [
        wire.Frame("Error", {"code": "ubdget"}),  # found by fuzzing
        wire.Frame("Error"),
        wire.Frame("Refusal", {"site": "north", "code": "x", "objection": b""}),
        wire.Frame("Grant", {"booking": 7}),
        wire.Frame("Surprise"),
        wire.Frame("Offer", {"site": "north", "charter": "{"}),
    ],
)
def test_an_answer_that_is_none_is_refused(frame: wire.Frame) -> None:
    with pytest.raises(StateError):
        wire.answer_of(frame)


@given(st.binary(max_size=300))
def test_no_header_breaks_the_decoder(data: bytes) -> None:
    try:
        kind, fields = wire.parse(data)
    except StateError:
        return
    assert isinstance(kind, str)
    assert all(type(value) in (str, int, bytes) for value in fields.values())


values = st.one_of(
    st.text(max_size=40), st.integers(-(2**53) + 1, 2**53 - 1), st.binary(max_size=40)
)


@given(st.text(max_size=20), st.dictionaries(st.text(max_size=8), values), st.binary(max_size=999))
def test_a_frame_arrives_as_it_was_sent(
    kind: str, fields: dict[str, wire.Value], blob: bytes
) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(wire.encode(wire.Frame(kind, fields, blob)))
        assert wire.receive(other) == wire.Frame(kind, fields, blob)


def test_the_key_of_the_site_is_in_no_offer() -> None:
    sent = wire.encode(wire.answer_frame(OFFER))
    assert key_of("north").derive("audit head").hex().encode() not in sent
    assert b"PRIVATE" not in sent
