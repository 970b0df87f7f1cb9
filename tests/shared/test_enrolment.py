"""The three letters of an enrolment: each change is refused, and the keys in them are what they say."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import key_of
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared import canonical, enrolment, statements
from fedward_shared.enrolment import MAX_BYTES, Admission, Enrolment, Invitation
from fedward_shared.errors import StatementError

VECTORS = Path(__file__).parents[1] / "vectors" / "enrolment"
UNIVERSITY = key_of("university")
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
INVITATION = Invitation(
    coordinator="university",
    site="north",
    key=UNIVERSITY.public.text,
    address="fl.university.example:8443",
    ca=PEM,
    token="0" * 64,
    expires=datetime(2026, 12, 1, tzinfo=UTC),
)


def body(**changes: object) -> dict[str, Any]:
    return INVITATION.model_dump(mode="json") | changes


def signed(content: dict[str, Any]) -> bytes:
    return statements.sign(Invitation.KIND, content, UNIVERSITY).encode()


def request(key: Any, name: str = "north") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_an_invitation_is_read_as_it_was_written() -> None:
    data = INVITATION.signed(UNIVERSITY)
    assert Invitation.read(data, "test") == INVITATION
    assert json.loads(data)["body"]["expires"] == "2026-12-01T00:00:00Z"
    assert INVITATION.signer == UNIVERSITY.public


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": "university"}, "an address is HOST:PORT"),
        ({"address": "https://university.example:1"}, "an address is HOST:PORT"),
        ({"address": "university.example:0"}, "an address is HOST:PORT"),
        ({"address": "university.example:65536"}, "an address is HOST:PORT"),
        ({"address": "university.example:1/x"}, "an address is HOST:PORT"),
        ({"address": "a b:1"}, "an address is HOST:PORT"),
        ({"site": "../north"}, "site: "),
        ({"coordinator": "University"}, "coordinator: "),
        ({"token": "0" * 63}, "token: "),
        ({"token": "F" * 64}, "token: "),
        ({"ca": "certificate"}, "ca: "),
        ({"ca": PEM + "A" * 8192}, "ca: "),
        ({"expires": "2026-12-01T00:00:00"}, "expires: "),
        ({"expires": "2026-12-01T00:00:00.000Z"}, "not in canonical form"),
        ({"expires": 1796083200}, "not in canonical form"),
        ({"key": "ed25519:" + "0" * 64}, "not signed by the key it names"),
        ({"url": "https://elsewhere"}, "url: "),
    ],
)
def test_a_field_that_is_wrong_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(StatementError, match=words) as caught:
        Invitation.read(signed(body(**changes)), "letter")
    assert str(caught.value).startswith("letter: ")


@pytest.mark.parametrize("address", ["a:1", "127.0.0.1:8443", "[::1]:8443", "fl.example:65535"])
def test_addresses_that_are_taken(address: str) -> None:
    assert Invitation.read(signed(body(address=address)), "test").address == address


def test_others_signatures_do_not_count() -> None:
    north = key_of("north")
    for keys in ([north], [UNIVERSITY, north]):
        data = statements.sign(Invitation.KIND, body(), *keys).encode()
        with pytest.raises(StatementError, match="not signed by the key it names"):
            Invitation.read(data, "test")


def test_a_letter_of_another_kind_is_refused() -> None:
    with pytest.raises(StatementError, match="fedward/invitation/1"):
        Admission.read(INVITATION.signed(UNIVERSITY), "test")


def test_a_letter_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(StatementError, match=f"more than {MAX_BYTES}"):
        Enrolment.read(b"[" * (MAX_BYTES + 1), "test")


def test_of_a_request_the_key_alone_counts() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for name in ("north", "somebody else"):
        assert enrolment.requested_key(request(key, name), "test") == key.public_key()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p-384", "ed25519", "rsa"],
)
def test_a_request_for_another_kind_of_key_is_refused(key: object) -> None:
    with pytest.raises(StatementError, match="P-256"):
        enrolment.requested_key(request(key), "test")


def test_a_request_that_its_key_has_not_signed_is_refused() -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    der, another = (
        x509.load_pem_x509_csr(request(k).encode()).public_bytes(serialization.Encoding.DER)
        for k in (key, other)
    )
    own, foreign = (
        k.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        for k in (key, other)
    )
    assert own in der
    assert foreign in another
    stolen = x509.load_der_x509_csr(der.replace(own, foreign))
    pem = stolen.public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(StatementError, match="of its own"):
        enrolment.requested_key(pem, "test")


def test_a_request_of_another_version_is_refused() -> None:
    """Found by `make fuzz`: the library's error for it is no ValueError."""
    pem = (VECTORS / "refused-version-3.pem").read_text("ascii")
    with pytest.raises(StatementError, match="no certificate request"):
        enrolment.requested_key(pem, "test")


def test_a_certificate_of_another_version_is_refused() -> None:
    data = (VECTORS / "certificate.pem").read_text("ascii")
    der = x509.load_pem_x509_certificate(data.encode()).public_bytes(serialization.Encoding.DER)
    version = bytes.fromhex("a003020102")  # [0] INTEGER 2: version 3
    assert der.count(version) == 1
    changed = base64.b64encode(der.replace(version, bytes.fromhex("a003020107"))).decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{changed}\n-----END CERTIFICATE-----\n"
    with pytest.raises(StatementError, match="no certificate"):
        enrolment.certificate(pem, "test")


def test_a_certificate_is_due_after_two_thirds_of_its_time() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime(2026, 1, 1, tzinfo=UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "north")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=90))
    ).sign(key, hashes.SHA256())
    assert not enrolment.is_due(made, start + timedelta(days=59))
    assert enrolment.is_due(made, start + timedelta(days=60))


@given(data=st.binary(max_size=200), place=st.integers(0, 2000))
def test_no_bytes_do_anything_but_be_refused(data: bytes, place: int) -> None:
    good = INVITATION.signed(UNIVERSITY)
    changed = good[: place % len(good)] + data + good[place % len(good) + len(data) :]
    if changed != good:
        with pytest.raises(StatementError):
            Invitation.read(changed, "test")


@given(text=st.text(max_size=300).map(lambda text: f"-----BEGIN CERTIFICATE-----\n{text}"))
def test_no_text_is_a_key_by_chance(text: str) -> None:
    for reader in (
        enrolment.certificate,
        enrolment.requested_key,
        lambda pem, origin: enrolment.public_key(pem, ec.SECP384R1, origin),
    ):
        with pytest.raises(StatementError):
            reader(text, "test")


def test_of_a_token_only_the_digest_is_kept() -> None:
    assert enrolment.token_digest("0" * 64) == canonical.digest(b"0" * 64)
