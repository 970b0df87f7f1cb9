"""How a site joins a coordinator: an invitation, an enrolment, an admission, each one signed statement.

    coordinator → site    Invitation   who the coordinator is, where, and a token that serves once
    site → coordinator    Enrolment    the token, a certificate request (RFC 2986) and the node's key
    coordinator → site    Admission    the certificate that lets the site through the proxy

The invitation goes by any way, a letter or mail; people compare the fingerprint of its key over another.
Each names the key that signed it, so that one function reads all three; whose key that is, the caller
compares. What is read here comes from strangers: every field is bounded, and so is the whole.
"""

import re
from datetime import datetime
from typing import Annotated, ClassVar, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from fedward_shared import canonical, statements
from fedward_shared.errors import StatementError
from fedward_shared.identity import KeyText, PublicKey, SigningKey
from fedward_shared.terms import Hexadecimal, Name, Terms, describe

MAX_BYTES = 32_768
TOKEN_BYTES = 32
ENROL_PATH = "/fedward/enrol"
RENEW_PATH = "/fedward/renew"
TLS_CURVE = ec.SECP256R1
NODE_CURVE = ec.SECP384R1  # what Flower's own key generation makes

HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]"
ADDRESS = re.compile(rf"(?:{HOST}):[0-9]{{1,5}}")


def _check_address(text: str) -> str:
    if not ADDRESS.fullmatch(text) or not 1 <= int(text.rpartition(":")[2]) <= 65535:
        raise ValueError("an address is HOST:PORT, for example fl.university.example:8443")
    return text


Address = Annotated[str, Field(max_length=262), AfterValidator(_check_address)]
Pem = Annotated[str, Field(max_length=8_192, pattern=r"^-----BEGIN [A-Z ]{1,40}-----\n")]


class Letter(Terms):
    """A statement with one signature, by the owner of `key`."""

    KIND: ClassVar[str]

    coordinator: Name
    site: Name
    key: KeyText

    @property
    def signer(self) -> PublicKey:
        """Whose letter this is."""
        return PublicKey(self.key)

    def signed(self, key: SigningKey) -> bytes:
        """The bytes that are kept and sent."""
        return statements.sign(self.KIND, self.model_dump(mode="json"), key).encode()

    @classmethod
    def read(cls, data: bytes, origin: str) -> Self:
        """The letter in `data`, signed by the key that it names and by nobody else.

        Raises StatementError.
        """
        if len(data) > MAX_BYTES:
            raise StatementError(f"{origin}: {len(data)} bytes, more than {MAX_BYTES}")
        statement = statements.decode(data, cls.KIND, origin)
        try:
            said = cls.model_validate(statement.body)
        except ValidationError as error:
            raise StatementError(f"{origin}: {describe(error)}") from error
        if said.model_dump(mode="json") != statement.body:
            raise StatementError(f"{origin}: a field is not in canonical form")
        if statement.signers != {said.signer}:
            raise StatementError(f"{origin}: not signed by the key it names ({said.key})")
        return said


class Invitation(Letter):
    """`coordinator`, at `address` with a certificate by `ca`, expects `site` until `expires`."""

    KIND = "fedward/invitation/1"

    address: Address
    ca: Pem
    token: Hexadecimal
    expires: AwareDatetime


class Enrolment(Letter):
    """`site`, whose key this is, wants to be admitted: what the token of its invitation is for."""

    KIND = "fedward/enrolment/1"

    token: Hexadecimal
    request: Pem
    node_key: Pem


class Admission(Letter):
    """The certificate of `site`, which names it and serves for nothing but to reach the coordinator."""

    KIND = "fedward/admission/1"

    certificate: Pem


def token_digest(token: str) -> str:
    """What the coordinator keeps of a token: nobody enrols with that."""
    return canonical.digest(token.encode())


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether two thirds of its time are over: a month is left of three, for whatever goes wrong."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= start + (end - start) * 2 / 3


def certificate(pem: str, origin: str) -> x509.Certificate:
    """The one certificate in `pem`. Raises StatementError."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, x509.InvalidVersion) as error:
        raise StatementError(f"{origin}: no certificate (PEM)") from error


def requested_key(pem: str, origin: str) -> ec.EllipticCurvePublicKey:
    """The key that a certificate request wants certified, P-256; whoever made the request has it.

    Nothing else of the request counts, its subject least of all. Raises StatementError.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        right = isinstance(key, ec.EllipticCurvePublicKey) and request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise StatementError(f"{origin}: no certificate request (PEM)") from error
    if not right or not isinstance(key.curve, TLS_CURVE):  # type: ignore[union-attr]
        raise StatementError(f"{origin}: the certificate request is not for a P-256 key of its own")
    return key  # type: ignore[return-value]


def public_key(pem: str, curve: type[ec.EllipticCurve], origin: str) -> ec.EllipticCurvePublicKey:
    """The public key on `curve` in `pem`. Raises StatementError."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StatementError(f"{origin}: no public key (PEM)") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, curve):
        raise StatementError(f"{origin}: not a key on {curve.name}")
    return key
