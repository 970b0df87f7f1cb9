"""Canonical JSON: one object has one spelling, and one digest everywhere."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared import canonical

VALUE = {"b": [1, "2.5", True, None], "a": "é\n", "€": 2**53 - 1, "A": {"z": 0, "y": -5}}
BYTES = '{"A":{"y":-5,"z":0},"a":"é\\n","b":[1,"2.5",true,null],"€":9007199254740991}'.encode()
DIGEST = "sha256:ece6acd0fef51d649641aa41d528c8c152a37b85bc4912d0ef3fc0dd6fd9f3c7"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé€😀"), inner),
    max_leaves=12,
)


def shuffled(value: object, seed: int) -> object:
    """The same value with the keys of its objects in another order."""
    if isinstance(value, list):
        return [shuffled(item, seed) for item in value]
    if not isinstance(value, dict):
        return value
    pairs = [(key, shuffled(item, seed)) for key, item in value.items()]
    random.Random(seed).shuffle(pairs)
    return dict(pairs)


def test_the_golden_vector() -> None:
    assert canonical.encode(VALUE) == BYTES
    assert canonical.digest(BYTES) == DIGEST


@given(values, st.integers(0, 5))
def test_the_order_of_keys_changes_no_byte(value: object, seed: int) -> None:
    assert canonical.encode(value) == canonical.encode(shuffled(value, seed))


@given(values)
def test_what_is_written_is_what_is_read(value: object) -> None:
    assert canonical.decode(canonical.encode(value)) == value


def test_keys_are_ordered_by_their_utf_16_units() -> None:
    keys = json.loads(canonical.encode({"\ufb33": 1, "😀": 2, "\r": 3, "1": 4}))
    assert list(keys) == ["\r", "1", "😀", "\ufb33"]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.5, 1.0, 2**53, "\ud800", {1: 2}, b"a"])
def test_what_json_cannot_say_has_no_spelling(value: object) -> None:
    with pytest.raises(ValueError):
        canonical.encode({"x": [value]})


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a":1} 2'])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        canonical.decode(data)


def test_digests_tell_bytes_apart() -> None:
    assert canonical.digest(b"1") != canonical.digest(b"1.0")
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert canonical.digest(b"") == empty
