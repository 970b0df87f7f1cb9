"""Programs of several parties with queues between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange import program
from fedward_shared.exchange.program import (
    KINDS,
    Book,
    Checkpoint,
    Receive,
    Send,
    decode,
    encode,
    over,
    together,
)
from fedward_shared.privacy.plan import Event


@given(st.sampled_from(KINDS), st.binary(max_size=100))
def test_a_message_is_read_as_what_it_is_and_as_nothing_else(kind, body):
    assert decode(encode(kind, body), kind, "bank") == body
    for other in KINDS:
        if other != kind:
            with pytest.raises(ExchangeError, match=f"bank has sent {kind} where {other}"):
                decode(encode(kind, body), other, "bank")


@given(st.binary(max_size=40))
def test_foreign_bytes_are_no_other_kind(message):
    try:
        body = decode(message, "labels", "bank")
    except ExchangeError:
        return
    assert encode("labels", body) == message


def sender(peer, body):
    yield from program.send(peer, "cells", body)
    return "sent"


def receiver(peer, size):
    return (yield from program.receive(peer, "cells", size))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 9])
def test_a_long_body_comes_in_parts(monkeypatch, size):
    monkeypatch.setattr(program, "PART_BYTES", 4)
    body, passed = bytes(range(size)), []
    parties = {"a": sender("b", body), "b": receiver("a", size)}
    found = together(parties, lambda *_: None, lambda who, what: passed.append((who, what)))
    assert found == {"a": "sent", "b": body}
    assert len(passed) == max(1, -(-size // 4))
    assert {who for who, _ in passed} == {"a"}


@pytest.mark.parametrize("wanted", [3, 5])
def test_a_body_of_another_length_is_refused(monkeypatch, wanted):
    monkeypatch.setattr(program, "PART_BYTES", 2)

    def short(peer):
        yield Send(peer, "cells", b"12")
        yield Send(peer, "cells", b"34")
        yield Send(peer, "cells", b"")

    with pytest.raises(ExchangeError, match="are due"):
        together({"a": short("b"), "b": receiver("a", wanted)}, lambda *_: None)


def test_parties_that_wait_for_each_other_are_named():
    parties = {"a": receiver("b", 1), "b": receiver("a", 1)}
    with pytest.raises(ExchangeError, match="a, b wait for each other"):
        together(parties, lambda *_: None)


def test_what_a_party_books_is_booked_before_it_goes_on():
    event, seen = Event("gaussian", 1.0, 1.0, 1), []

    def books():
        seen.append("before")
        yield Book(event)
        seen.append("after")
        yield Send("b", "labels", b"1")

    def takes():
        return (yield Receive("a", "labels"))

    def booked(who, what):
        seen.append((who, what))

    assert together({"a": books(), "b": takes()}, booked)["b"] == b"1"
    assert seen == ["before", ("a", event), "after"]


def test_a_booking_that_is_refused_ends_all():
    def refused(*_):
        raise ExchangeError("no")

    def books():
        yield Book(Event("gaussian", 1.0, 1.0, 1))
        raise AssertionError

    with pytest.raises(ExchangeError, match="no"):
        together({"a": books()}, refused)


def test_a_checkpoint_is_kept_by_a_line_and_by_nobody_in_one_process():
    class Kept:
        def __init__(self):
            self.states = []

        def checkpoint(self, state):
            self.states.append(state)

    def keeps():
        yield Checkpoint(b"half")
        yield Checkpoint(b"all but the end")
        return "done"

    line = Kept()
    assert over(keeps(), line, lambda *_: None, 1.0) == "done"
    assert line.states == [b"half", b"all but the end"]
    assert together({"a": keeps()}, lambda *_: None) == {"a": "done"}
