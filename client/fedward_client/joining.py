"""Enrolment at the site: an invitation and a person who compared its fingerprint become a membership.

The keys are made here and stay here; what goes to the coordinator is signed by the site's own key. They
are kept before anything is sent, so that an enrolment whose answer was lost is repeated with the same
keys, which the coordinator answers as it did before.
"""

import hmac
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedward_client import keys, memberships
from fedward_client.memberships import (
    CA_FILE,
    CERTIFICATE_FILE,
    DETAILS_FILE,
    KEY_FILE,
    NODE_KEY_FILE,
    Details,
    Membership,
)
from fedward_client.settings import SiteSettings
from fedward_shared.enrolment import (
    ENROL_PATH,
    MAX_BYTES,
    NODE_CURVE,
    TLS_CURVE,
    Admission,
    Enrolment,
    Invitation,
)
from fedward_shared.errors import EnrolmentError, IdentityError, StateError, UsageError
from fedward_shared.files import write_atomically

Send = Callable[[Invitation, bytes], bytes]


def read(path: Path) -> Invitation:
    """The invitation in the file `path`. Raises UsageError or StatementError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return Invitation.read(data, str(path))


def check(invitation: Invitation, settings: SiteSettings, now: datetime) -> None:
    """Raises EnrolmentError for an invitation that is not for this site, or not for now.

    The coordinator has to be in `site.toml` already, which only people write.
    """
    name, key = invitation.coordinator, invitation.key
    pinned = settings.coordinators.get(name)
    if pinned is None:
        raise EnrolmentError(
            f"site.toml does not name {name}; if its fingerprint is right, add this line under "
            f'[coordinators] and enrol again:\n{name} = "{key}"'
        )
    if not hmac.compare_digest(pinned, key):
        raise EnrolmentError(
            f"this invitation is signed by {key}, but the key of {name} in site.toml is {pinned}: "
            "do not use it, and ask the coordinator by telephone"
        )
    if invitation.site != settings.name:
        raise EnrolmentError(f"the invitation is for {invitation.site}; this is {settings.name}")
    if now >= invitation.expires:
        raise EnrolmentError(
            f"the invitation expired on {invitation.expires:%Y-%m-%d %H:%M} UTC; ask {name} for "
            "a new one"
        )
    place = memberships.folder(settings) / name
    if (place / DETAILS_FILE).exists():
        raise EnrolmentError(
            f"{place}: this site is enrolled with {name} already; to enrol afresh, stop the site and "
            "move that folder away"
        )


def check_fingerprint(invitation: Invitation, told: str) -> None:
    """Raises EnrolmentError unless `told`, by telephone, is the fingerprint; spaces don't count."""
    own = "".join(invitation.signer.fingerprint.split())
    if not hmac.compare_digest(own.encode(), "".join(told.split()).lower().encode()):
        raise EnrolmentError(
            "that is not the fingerprint of the key that signed the invitation: somebody else may have "
            "made it. Nothing was sent"
        )


def enrol(invitation: Invitation, settings: SiteSettings, send: Send | None = None) -> Membership:
    """Makes the keys, sends the enrolment, and keeps the answer; `check` comes before.

    Raises EnrolmentError if the coordinator refuses, TransportError if it cannot be reached,
    StatementError for an answer that is not its own, and IdentityError for a key that cannot be used.
    """
    place = memberships.folder(settings) / invitation.coordinator
    tls, node = _keys(place)
    own = keys.load(settings)
    asked = Enrolment(
        coordinator=invitation.coordinator,
        site=settings.name,
        key=own.public.text,
        token=invitation.token,
        request=_request(settings.name, tls),
        node_key=_public_text(node),
    )
    answer = (send or over_https)(invitation, asked.signed(own))
    admission = Admission.read(answer, f"answer of {invitation.address}")
    details = Details(
        coordinator=invitation.coordinator,
        address=invitation.address,
        key=invitation.key,
        site=settings.name,
    )
    memberships.accepted(admission, details, invitation.ca, tls.public_key())
    _write(place / CA_FILE, invitation.ca.encode())
    _write(place / CERTIFICATE_FILE, admission.certificate.encode())
    # Last: with it, the folder is a membership.
    _write(place / DETAILS_FILE, details.model_dump_json(indent=2).encode())
    return memberships.at(place)


def over_https(invitation: Invitation, data: bytes) -> bytes:
    """Sends an enrolment, and trusts the authority that the invitation names and nobody else."""
    trusted = memberships.context(invitation.ca)
    return memberships.ask(invitation.address, ENROL_PATH, data, trusted)


def _keys(place: Path) -> tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePrivateKey]:
    """The TLS key and the node's key, made unless an enrolment that was cut off has made them."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.chmod(0o700)
    except OSError as error:
        raise StateError(f"{place}: cannot be made: {error.strerror}") from error
    form = serialization.PrivateFormat
    tls = _key(place / KEY_FILE, TLS_CURVE(), form.PKCS8)
    # The one form that a SuperNode reads.
    return tls, _key(place / NODE_KEY_FILE, NODE_CURVE(), form.OpenSSH)


def _key(
    path: Path, curve: ec.EllipticCurve, form: serialization.PrivateFormat
) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        made = ec.generate_private_key(curve)
        encryption = serialization.NoEncryption()
        _write(path, made.private_bytes(serialization.Encoding.PEM, form, encryption))
        return made
    ssh = form is serialization.PrivateFormat.OpenSSH
    load = serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key
    try:
        key = load(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise IdentityError(f"{path}: no key that an enrolment has left; move it away") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != curve.name:
        raise IdentityError(f"{path}: not a key on {curve.name}; move it away")
    return key


def _request(site: str, key: ec.EllipticCurvePrivateKey) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _public_text(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()


def _write(path: Path, data: bytes) -> None:
    write_atomically(path, data, mode=0o600)
