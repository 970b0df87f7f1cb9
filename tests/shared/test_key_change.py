"""A change of key is what the holders of both keys say, and nothing else."""

from typing import Any

import pytest
from conftest import key_of

from fedward_shared import canonical, key_change, statements
from fedward_shared.errors import StatementError
from fedward_shared.key_change import KIND, KeyChange

OLD, NEW, OTHER = key_of("old"), key_of("new"), key_of("other")
CHANGE = KeyChange(
    site="north", old=OLD.public.text, new=NEW.public.text, at="2026-11-24T12:00:00+00:00"
)


def body(**changes: Any) -> dict[str, Any]:
    return {**CHANGE.model_dump(mode="json"), **changes}


def test_what_is_signed_is_what_is_read() -> None:
    assert key_change.read(CHANGE.signed(OLD, NEW), OLD.public, "log") == CHANGE


REFUSED: dict[str, tuple[bytes, str]] = {
    "by the old key alone": (
        statements.sign(KIND, body(), OLD).encode(),
        "not signed by the new key",
    ),
    "by the new key alone": (
        statements.sign(KIND, body(), NEW).encode(),
        "not signed by the old key",
    ),
    "by others": (statements.sign(KIND, body(), OTHER).encode(), "not signed by the old key"),
    "away from another": (
        statements.sign(KIND, body(old=OTHER.public.text), OLD, NEW, OTHER).encode(),
        "it replaces ed25519:.*, not ed25519:",
    ),
    "to itself": (
        statements.sign(KIND, body(new=OLD.public.text), OLD).encode(),
        "old and new key are the same",
    ),
    "with a field": (statements.sign(KIND, body(why="lost"), OLD, NEW).encode(), "why: Extra"),
    "without a field": (
        statements.sign(KIND, {"old": OLD.public.text}, OLD, NEW).encode(),
        "site: Field required; new: Field required; at: Field required",
    ),
    "another kind": (statements.sign("fedward/decision/1", body(), OLD, NEW).encode(), "expected"),
    "changed": (
        CHANGE.signed(OLD, NEW).replace(b"T12:", b"T13:"),
        "the signature .* is not right",
    ),
    "no JSON": (b"None", "not canonical JSON"),
    "a list": (canonical.encode([1]), "not a signed statement"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(name: str) -> None:
    data, said = REFUSED[name]
    with pytest.raises(StatementError, match=said):
        key_change.read(data, OLD.public, "log")
