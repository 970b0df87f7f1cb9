"""Signed statements: what an institution or a coordinator says, in a form that others can check.

A statement has a kind, which says what it is about and in which version, and a body, a JSON object.
What is signed is the pre-authentication encoding of DSSE (github.com/secure-systems-lab/dsse) of kind
and canonical body, so that no signature for one kind of statement serves for another. On disk and on
the wire a signed statement is canonical JSON itself: there is one right sequence of bytes, and any
other (keys in another order, a key twice, white space) is refused.
"""

from dataclasses import dataclass
from typing import Any

from fedward_shared import canonical
from fedward_shared.errors import IdentityError, StatementError
from fedward_shared.identity import SIGNATURE_BYTES, PublicKey, SigningKey

MAX_BYTES = 2**20
MAX_SIGNATURES = 16
MAX_DEPTH = 16
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True)
class Signature:
    """Who signed, and the signature."""

    key: PublicKey
    value: bytes


@dataclass(frozen=True)
class Statement:
    """A statement whose signatures are right; `signers` are the keys that made them."""

    kind: str
    body: dict[str, Any]
    signatures: tuple[Signature, ...]

    @property
    def signers(self) -> frozenset[PublicKey]:
        """The keys that signed."""
        return frozenset(signature.key for signature in self.signatures)

    @property
    def digest(self) -> str:
        """Of kind and body: the same whoever signed."""
        return canonical.digest(_signed_bytes(self.kind, self.body))

    def encode(self) -> bytes:
        """The bytes that are kept and sent."""
        return canonical.encode(
            {
                "kind": self.kind,
                "body": self.body,
                "signatures": [
                    {"key": signature.key.text, "value": signature.value.hex()}
                    for signature in self.signatures
                ],
            }
        )

    def signed_by(self, key: PublicKey, whose: str) -> "Statement":
        """This statement, if `key` is among its signers. Raises StatementError that says `whose`."""
        if key not in self.signers:
            raise StatementError(f"{self.kind}: not signed by {whose} ({key.text})")
        return self


def sign(kind: str, body: dict[str, Any], *keys: SigningKey) -> Statement:
    """The statement with one signature for each of `keys`."""
    message = _signed_bytes(kind, body)
    signatures = [Signature(key.public, key.sign(message)) for key in keys]
    return Statement(kind, body, tuple(sorted(signatures, key=lambda s: s.key.text)))


def decode(data: bytes, kind: str, origin: str) -> Statement:
    """The statement in `data`, whose every signature is right.

    Whether the signers are the ones that matter is for the caller to say (`signed_by`). Raises
    StatementError for bytes that are too many, not canonical, of another kind, or falsely signed.
    """
    if len(data) > MAX_BYTES:
        raise StatementError(f"{origin}: {len(data)} bytes, more than {MAX_BYTES}")
    content = _parse(data, origin)
    if set(content) != {"kind", "body", "signatures"}:
        raise StatementError(f"{origin}: not a signed statement")
    if _is_other_version(content["kind"], kind):
        raise StatementError(
            f"{origin}: it is {content['kind'][:80]!r}, and this release reads {kind!r}: who signed it "
            "has another release of fedward"
        )
    if content["kind"] != kind:
        raise StatementError(f"{origin}: it is {str(content['kind'])[:80]!r}, expected {kind!r}")
    body, found = content["body"], content["signatures"]
    if not isinstance(body, dict) or not isinstance(found, list):
        raise StatementError(f"{origin}: not a signed statement")
    if not 1 <= len(found) <= MAX_SIGNATURES:
        raise StatementError(f"{origin}: {len(found)} signatures, expected 1 to {MAX_SIGNATURES}")
    signatures = tuple(_signature(one, origin) for one in found)
    texts = [signature.key.text for signature in signatures]
    if texts != sorted(set(texts)):
        raise StatementError(f"{origin}: signatures are not ordered by key, or one occurs twice")
    message = _signed_bytes(kind, body)
    for signature in signatures:
        if not signature.key.verifies(message, signature.value):
            raise StatementError(
                f"{origin}: the signature of {signature.key.text} is not right for what it says"
            )
    return Statement(kind, body, signatures)


def _is_other_version(found: object, kind: str) -> bool:
    """Kinds are written name/version."""
    if type(found) is not str or found == kind:
        return False
    return found.rpartition("/")[0] == kind.rpartition("/")[0]


def _parse(data: bytes, origin: str) -> dict[str, Any]:
    _check_depth(data, origin)
    try:
        content = canonical.decode(data)
        canonical_bytes = canonical.encode(content)
    except (ValueError, RecursionError) as error:
        raise StatementError(f"{origin}: not canonical JSON") from error
    if canonical_bytes != data:
        raise StatementError(f"{origin}: not canonical JSON (RFC 8785)")
    if not isinstance(content, dict):
        raise StatementError(f"{origin}: not a signed statement")
    return content


def _check_depth(data: bytes, origin: str) -> None:
    """A bound before the parser, which recurses. Brackets in strings count too: that is stricter."""
    depth = 0
    for byte in data.translate(None, _NO_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise StatementError(f"{origin}: nested deeper than {MAX_DEPTH}")
        else:
            depth -= 1


def _signature(content: object, origin: str) -> Signature:
    if not isinstance(content, dict) or set(content) != {"key", "value"}:
        raise StatementError(f"{origin}: a signature has key and value")
    key, value = content["key"], content["value"]
    if not isinstance(key, str) or not isinstance(value, str):
        raise StatementError(f"{origin}: key and value of a signature are texts")
    try:
        raw = bytes.fromhex(value)
        public = PublicKey(key)
    except (ValueError, IdentityError) as error:
        raise StatementError(f"{origin}: {error}") from error
    if len(raw) != SIGNATURE_BYTES or raw.hex() != value:
        raise StatementError(f"{origin}: a signature has {SIGNATURE_BYTES} bytes in hexadecimal")
    return Signature(public, raw)


def _signed_bytes(kind: str, body: dict[str, Any]) -> bytes:
    """PAE(type, payload) of DSSE v1."""
    name, payload = kind.encode(), canonical.encode(body)
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)
