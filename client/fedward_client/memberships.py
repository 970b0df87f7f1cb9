"""What a site holds of each coordinator that admitted it, and how its certificate is kept alive.

    STATE/memberships/COORDINATOR/membership.json   who and where the coordinator is
                                  ca.pem            who vouches for the coordinator's server
                                  client.pem, .key  the certificate that the proxy asks for
                                  node.key          what the SuperNode signs with

The folder and every file are for their owner alone. A renewed certificate is for the same key, so that
one file is replaced, atomically: no crash leaves a certificate beside another's key.
"""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from fedward_client.settings import SiteSettings
from fedward_shared import enrolment
from fedward_shared.enrolment import MAX_BYTES, RENEW_PATH, Address, Admission
from fedward_shared.errors import (
    EnrolmentError,
    FedwardError,
    StateError,
    StatementError,
    TransportError,
)
from fedward_shared.files import write_atomically
from fedward_shared.identity import KeyText
from fedward_shared.terms import Name, Terms, describe

FOLDER = "memberships"
DETAILS_FILE = "membership.json"
CA_FILE = "ca.pem"
CERTIFICATE_FILE = "client.pem"
KEY_FILE = "client.key"
NODE_KEY_FILE = "node.key"
MAX_ANSWER_SHOWN = 300
TIMEOUT_SECONDS = 30.0


class Details(Terms):
    """`membership.json`: the coordinator's key is the one that this site's people compared."""

    coordinator: Name
    address: Address
    key: KeyText
    site: Name


@dataclass(frozen=True)
class Membership:
    """The coordinator at `address` (host:port), and the files to reach it with."""

    coordinator: str
    address: str
    ca: Path
    certificate: Path
    key: Path
    node_key: Path

    @property
    def details(self) -> Details:
        """What else is known of it. Raises StateError."""
        return _details(self.certificate.parent)

    @property
    def current(self) -> x509.Certificate:
        """The certificate as it is on disk. Raises StatementError or StateError."""
        try:
            text = self.certificate.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(f"{self.certificate}: cannot be read") from error
        return enrolment.certificate(text, str(self.certificate))


def folder(settings: SiteSettings) -> Path:
    """Where the memberships of a site are."""
    return settings.state / FOLDER


def all_of(settings: SiteSettings) -> list[Membership]:
    """The memberships of a site, by the coordinator's name. Raises StateError for a damaged one."""
    places = sorted(folder(settings).glob(f"*/{DETAILS_FILE}"))
    return [at(place.parent) for place in places]


def at(place: Path) -> Membership:
    """The membership in the folder `place`. Raises StateError."""
    details = _details(place)
    found = Membership(
        details.coordinator,
        details.address,
        place / CA_FILE,
        place / CERTIFICATE_FILE,
        place / KEY_FILE,
        place / NODE_KEY_FILE,
    )
    for path in (found.ca, found.certificate, found.key, found.node_key):
        if not path.is_file():
            raise StateError(f"{path}: is missing; restore it from a backup, or enrol again")
    return found


def _details(place: Path) -> Details:
    path = place / DETAILS_FILE
    try:
        return Details.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise StateError(f"{path}: {describe(error)}") from error


def renew_if_due(membership: Membership, now: datetime) -> bool:
    """Renews the certificate where it is time; says whether it did. Raises as `renew` does."""
    if not enrolment.is_due(membership.current, now):
        return False
    renew(membership, now)
    return True


def renew(membership: Membership, now: datetime) -> x509.Certificate:
    """Asks the coordinator for a new certificate of the same key, with the present one.

    Raises EnrolmentError if it refuses or the certificate has expired, TransportError if it cannot be
    reached, StatementError for an answer that is not the coordinator's; the old one is kept then.
    """
    old = membership.current
    if now >= old.not_valid_after_utc:
        raise EnrolmentError(
            f"{membership.certificate}: expired on {old.not_valid_after_utc:%Y-%m-%d}; ask "
            f"{membership.coordinator} for a new invitation"
        )
    data = ask(membership.address, RENEW_PATH, b"", tls(membership))
    details = membership.details
    admission = Admission.read(data, f"answer of {membership.address}")
    fresh = accepted(admission, details, membership.ca.read_text("utf-8"), old.public_key())
    write_atomically(membership.certificate, admission.certificate.encode(), mode=0o600)
    return fresh


def tls(membership: Membership) -> ssl.SSLContext:
    """Trusts the coordinator's own authority and nobody else, and shows this site's certificate."""
    return context(membership.ca.read_text("utf-8"), membership)


def context(ca: str, membership: Membership | None = None) -> ssl.SSLContext:
    """As `tls`; without a membership, without a certificate to show. Raises StateError."""
    try:
        made = ssl.create_default_context(cadata=ca)
        if membership is not None:
            made.load_cert_chain(membership.certificate, membership.key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        where = membership.certificate.parent if membership else "certificate authority"
        raise StateError(f"{where}: certificate and key cannot be used: {error}") from error
    return made


def accepted(admission: Admission, details: Details, ca: str, key: object) -> x509.Certificate:
    """The certificate of an admission, if it is for this site and this key, by that authority.

    Raises StatementError for anything else.
    """
    origin = f"answer of {details.address}"
    if (admission.coordinator, admission.key) != (details.coordinator, details.key):
        raise StatementError(f"{origin}: not signed by {details.coordinator}")
    found = enrolment.certificate(admission.certificate, origin)
    try:
        names = [name.value for name in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        is_ours = names == [details.site] == [admission.site] and found.public_key() == key
        found.verify_directly_issued_by(enrolment.certificate(ca, origin))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise StatementError(f"{origin}: the certificate is not by the authority") from error
    if not is_ours:
        raise StatementError(f"{origin}: the certificate is not for this site and its key")
    return found


def ask(address: str, path: str, data: bytes, trusted: ssl.SSLContext) -> bytes:
    """What the coordinator answers to a POST, at most MAX_BYTES.

    `HTTPS_PROXY` is heeded, as a hospital has one. Raises TransportError if nobody answers, or
    EnrolmentError with the coordinator's words if it refuses.
    """
    try:
        with (
            httpx.Client(verify=trusted, timeout=TIMEOUT_SECONDS) as client,
            client.stream("POST", f"https://{address}{path}", content=data) as response,
        ):
            answer = b""
            for part in response.iter_raw():
                answer += part
                if len(answer) > MAX_BYTES:
                    raise TransportError(f"{address}: an answer longer than {MAX_BYTES} bytes")
    except httpx.HTTPError as error:
        raise TransportError(f"{address}: {error}; address, firewall and proxy right?") from error
    if response.status_code != httpx.codes.OK:
        raise _refusal(address, response.status_code, answer)
    return answer


def _refusal(address: str, status: int, answer: bytes) -> FedwardError:
    words = answer[:MAX_ANSWER_SHOWN].decode("utf-8", "replace").strip()
    shown = "".join(sign if sign.isprintable() else " " for sign in words)
    kind = TransportError if status >= httpx.codes.INTERNAL_SERVER_ERROR else EnrolmentError
    return kind(f"{address} refuses ({status}): {shown}")
