"""Hops: what is encoded is decoded, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.channel import MAX_FRAME
from fedward_shared.exchange.hops import MAX_HOP, MAX_STATEMENT, Hop, Refusal

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
HOPS = st.one_of(
    st.builds(lambda data: Hop("challenge", payload=data), st.binary(min_size=32, max_size=32)),
    st.builds(lambda data: Hop("attendance", payload=data), st.binary(min_size=1, max_size=99)),
    st.builds(Hop, st.sampled_from(["here", "gone"]), NAMES),
    st.builds(
        Hop, st.sampled_from(["opening", "frame"]), NAMES, st.binary(min_size=1, max_size=99)
    ),
    st.just(Hop("beat")),
    st.builds(Hop.refusal, st.sampled_from(Refusal), st.one_of(st.just(""), NAMES)),
)


@given(HOPS)
def test_a_hop_is_read_as_it_was_made(hop: Hop) -> None:
    assert Hop.decode(hop.encode()) == hop


@given(st.one_of(st.binary(max_size=80), HOPS.map(lambda hop: hop.encode()[:-1])))
def test_any_bytes_are_a_hop_or_refused(data: bytes) -> None:
    try:
        hop = Hop.decode(data)
    except ExchangeError:
        return
    assert hop.encode() == data


@pytest.mark.parametrize(
    ("hop", "match"),
    [
        (Hop("challenge", payload=bytes(31)), "never of this form"),
        (Hop("beat", "bureau"), "never of this form"),
        (Hop("frame", "", b"x"), "never of this form"),
        (Hop("frame", "bureau"), "never of this form"),
        (Hop("opening", "bureau", bytes(MAX_STATEMENT + 1)), "never of this form"),
        (Hop("here", "Bureau"), "none of a site"),
        (Hop("here", "-"), "none of a site"),
        (Hop("refused", payload=b"because"), "no reason that there is"),
    ],
)
def test_what_nobody_says_is_refused(hop: Hop, match: str) -> None:
    with pytest.raises(ExchangeError, match=match):
        Hop.decode(hop.encode())


def test_the_longest_hop_has_the_longest_name_and_frame() -> None:
    data = Hop("frame", "a" * 63, bytes(MAX_FRAME)).encode()
    assert len(data) == MAX_HOP
    assert len(Hop.decode(data).payload) == MAX_FRAME
    with pytest.raises(ExchangeError, match="is none"):
        Hop.decode(data + b"\0")


def test_every_refusal_has_words() -> None:
    assert all(why.words for why in Refusal)
