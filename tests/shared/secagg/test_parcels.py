"""Parcels: one right sequence of bytes for several sites' messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import AggregationError
from fedward_shared.secagg import parcels

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=40), max_size=8))
def test_parts_come_back_in_order(parts: dict[str, bytes]) -> None:
    found = parcels.decode(parcels.encode(parts), "test")
    assert found == parts
    assert list(found) == sorted(parts)


@given(st.binary(max_size=60))
def test_what_can_be_read_has_only_these_bytes(data: bytes) -> None:
    try:
        parts = parcels.decode(data, "test")
    except AggregationError:
        return
    assert parcels.encode(parts) == data


GOOD = parcels.encode({"a": b"1", "b": b"22"})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GOOD[:-1], "cut off"),
        (GOOD + b"\x01", "cut off"),
        (parcels.encode({"b": b""}) + parcels.encode({"a": b""}), "out of order"),
        (parcels.encode({"a": b""}) * 2, "one twice"),
        (b"\x00" + bytes(4), "out of order"),
        (b"\x01\xff" + bytes(4), "a name that is none"),
        (b"\x01a" + (2**20 + 1).to_bytes(4, "little") + bytes(2**20 + 1), "too long"),
        (b"\x01a\xff\xff\xff\xff", "cut off"),
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(AggregationError, match=words):
        parcels.decode(data, "test")


def test_there_is_a_bound_on_the_number_of_parts() -> None:
    many = {f"{number:05d}": b"" for number in range(parcels.MAX_SITES + 1)}
    with pytest.raises(AggregationError, match="too many"):
        parcels.decode(parcels.encode(many), "test")
