"""A signing key replaced by another: who held the old one says so, and who holds the new one too.

Signed by both keys, the statement can be followed in either direction: who trusts the old key learns
the new one, and who is given the new one can check what was signed before.
"""

from typing import Annotated

from pydantic import Field, ValidationError

from fedward_shared import statements
from fedward_shared.errors import StatementError
from fedward_shared.identity import KeyText, PublicKey, SigningKey
from fedward_shared.terms import Name, Terms, describe

KIND = "fedward/key-change/1"


class KeyChange(Terms):
    """`site` signed with the key `old` until `at`, and signs with `new` from then on."""

    site: Name
    old: KeyText
    new: KeyText
    at: Annotated[str, Field(max_length=40)]

    def signed(self, old: SigningKey, new: SigningKey) -> bytes:
        """The bytes that are kept and sent."""
        return statements.sign(KIND, self.model_dump(mode="json"), old, new).encode()


def read(data: bytes, old: PublicKey, origin: str) -> KeyChange:
    """The change away from `old` in `data`. Raises StatementError unless both keys have signed it."""
    statement = statements.decode(data, KIND, origin)
    try:
        said = KeyChange.model_validate(statement.body)
    except ValidationError as error:
        raise StatementError(f"{origin}: {describe(error)}") from error
    if said.old != old.text:
        raise StatementError(f"{origin}: it replaces {said.old}, not {old.text}")
    if said.old == said.new:
        raise StatementError(f"{origin}: old and new key are the same")
    statement.signed_by(old, "the old key")
    statement.signed_by(PublicKey(said.new), "the new key")
    return said
