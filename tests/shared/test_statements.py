"""Signed statements: one right sequence of bytes, and a named refusal for every other.

Each file in `tests/vectors/statements/` fails in one way; `expected.json` says with which words.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import key_of
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared import canonical, statements
from fedward_shared.errors import StatementError
from fedward_shared.identity import PublicKey

VECTORS = Path(__file__).parents[1] / "vectors" / "statements"
EXPECTED: dict[str, str] = json.loads((VECTORS / "expected.json").read_text("utf-8"))
KIND = "fedward/decision/1"
BODY: dict[str, Any] = {"site": "north", "charter": "sha256:" + "0" * 64, "number": 3}
GOOD = statements.sign(KIND, BODY, key_of("north"))


def test_the_golden_vector() -> None:
    data = (VECTORS / "good.json").read_bytes()
    statement = statements.decode(data, KIND, "vector")
    assert statement == GOOD
    assert statement.encode() == data
    assert statement.signed_by(key_of("north").public, "north") is statement


def test_what_is_signed_is_the_pre_authentication_encoding_of_dsse() -> None:
    payload = canonical.encode(BODY)
    message = f"DSSEv1 {len(KIND)} {KIND} {len(payload)} ".encode() + payload
    (signature,) = GOOD.signatures
    assert signature.key.verifies(message, signature.value)
    assert GOOD.digest == "sha256:" + hashlib.sha256(message).hexdigest()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_vectors_that_are_refused(name: str) -> None:
    with pytest.raises(StatementError, match=EXPECTED[name]) as caught:
        statements.decode((VECTORS / name).read_bytes(), KIND, "vector")
    assert str(caught.value).startswith("vector: ")


def test_every_vector_has_an_expectation() -> None:
    names = {path.name for path in VECTORS.iterdir()}
    assert names == {"good.json", "expected.json", *EXPECTED}


def test_signatures_are_in_order_whoever_signs_first() -> None:
    both = statements.sign(KIND, BODY, key_of("south"), key_of("north"))
    assert both == statements.sign(KIND, BODY, key_of("north"), key_of("south"))
    assert statements.decode(both.encode(), KIND, "test") == both
    assert both.digest == GOOD.digest
    with pytest.raises(StatementError, match="not signed by west"):
        both.signed_by(key_of("west").public, "west")


def test_a_signature_for_one_kind_serves_for_no_other() -> None:
    content = json.loads(GOOD.encode())
    content["kind"] = "fedward/receipt/1"
    with pytest.raises(StatementError, match="is not right for what it says"):
        statements.decode(canonical.encode(content), "fedward/receipt/1", "test")


def test_decimals_are_not_signed() -> None:
    with pytest.raises(ValueError, match="decimal"):
        statements.sign(KIND, {"epsilon": 0.5}, key_of("north"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_what_is_encoded_is_decoded(body: dict[str, Any]) -> None:
    statement = statements.sign(KIND, body, key_of("north"), key_of("south"))
    assert statements.decode(statement.encode(), KIND, "test") == statement


@given(st.binary(max_size=400))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(StatementError):
        statements.decode(data, KIND, "test")


@given(st.integers(0, len(GOOD.encode()) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(place: int, change: int) -> None:
    data = bytearray(GOOD.encode())
    data[place] ^= change
    with pytest.raises(StatementError):
        statements.decode(bytes(data), KIND, "test")


@given(json_values)
def test_no_json_does_more_than_be_refused(value: object) -> None:
    for content in (value, {"kind": KIND, "body": value, "signatures": value}):
        with pytest.raises(StatementError):
            statements.decode(canonical.encode(content), KIND, "test")


def test_bounds() -> None:
    with pytest.raises(StatementError, match="more than"):
        statements.decode(b"1" * (statements.MAX_BYTES + 1), KIND, "test")
    with pytest.raises(StatementError, match="nested deeper"):
        statements.decode(b"[" * 100_000, KIND, "test")
    assert PublicKey(key_of("north").public.text) in GOOD.signers
