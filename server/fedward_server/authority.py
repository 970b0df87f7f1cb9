"""The coordinator's certificate authority: it vouches for its own servers and for the sites it admitted.

Everything is X.509 v3 (RFC 5280) with ECDSA on P-256. A site's certificate names the site and serves for
client authentication alone; a server's for server authentication alone. So neither passes for the other.
"""

import ipaddress
import os
import stat
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedward_shared.enrolment import TLS_CURVE, is_due
from fedward_shared.errors import IdentityError
from fedward_shared.files import write_atomically

CA_FILE = "ca.pem"
CA_KEY_FILE = "ca.key"
CRL_FILE = "crl.pem"
SERVER = "server"
SUPERLINK = "superlink"

CA_YEARS = 10
CERTIFICATE_DAYS = 90
SKEW = timedelta(minutes=10)
"""A certificate begins this long before it is made: clocks differ, and a new one serves at once."""
MAX_FILE = 65_536


class Authority:
    """The authority in `folder`, with its key in memory. It is never printed."""

    def __init__(
        self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self.folder = folder
        self.certificate = certificate
        self._key = key

    def __repr__(self) -> str:
        """Never the private part."""
        return f"Authority({self.folder})"

    @classmethod
    def create(
        cls, folder: Path, name: str, passphrase: bytes | None, now: datetime
    ) -> "Authority":
        """A new authority in a new folder. Raises FileExistsError."""
        folder.mkdir(mode=0o700)
        key = ec.generate_private_key(TLS_CURVE())
        subject = _name(f"fedward {name}")
        end = now + timedelta(days=365 * CA_YEARS)
        certificate = (
            _builder(subject, subject, key.public_key(), now, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write_key(folder / CA_KEY_FILE, key, passphrase)
        write_atomically(folder / CA_FILE, _pem(certificate))
        return cls(folder, certificate, key)

    @classmethod
    def load(cls, folder: Path, passphrase: bytes | None) -> "Authority":
        """Raises IdentityError for files that are missing, open to others or no pair."""
        key = _read_key(folder / CA_KEY_FILE, passphrase)
        certificate = read_certificate(folder / CA_FILE)
        if certificate.public_key() != key.public_key():
            raise IdentityError(f"{folder}: {CA_FILE} and {CA_KEY_FILE} are not a pair")
        return cls(folder, certificate, key)

    def certify_site(
        self, site: str, key: ec.EllipticCurvePublicKey, now: datetime
    ) -> x509.Certificate:
        """A certificate that names `site`, for whoever holds `key`."""
        end = now + timedelta(days=CERTIFICATE_DAYS)
        return self._certify(_name(site), key, now, end, ExtendedKeyUsageOID.CLIENT_AUTH)

    def certify_server(self, address: str, now: datetime) -> None:
        """Writes key and certificate of the proxy at `address`, HOST:PORT."""
        self._write_server(SERVER, [_host(address)], now, timedelta(days=CERTIFICATE_DAYS))

    def is_server_due(self, address: str, now: datetime) -> bool:
        """Whether the proxy's certificate is to be renewed, or is for another address."""
        found = read_certificate(self.folder / f"{SERVER}.pem")
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return is_due(found, now) or _host(address) not in names

    def certify_loopback(self, now: datetime) -> None:
        """Writes key and certificate of the SuperLink, for as long as the authority itself.

        Flower authenticates nodes over TLS only, but it is the proxy that sites see: this one never
        leaves the machine, and a SuperLink is not restarted for it.
        """
        names = [_general_name(name) for name in ("localhost", "127.0.0.1")]
        self._write_server(SUPERLINK, names, now, self.certificate.not_valid_after_utc - now)

    def write_revoked(self, revoked: Mapping[int, datetime], now: datetime) -> None:
        """Writes the revocation list: serial numbers, and since when.

        It says it is good for as long as the authority: whoever reads it reads it from this disk, and a
        list that runs out would lock every site out.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - SKEW)
            .next_update(self.certificate.not_valid_after_utc)
        )
        for serial, at in sorted(revoked.items()):
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
            builder = builder.add_revoked_certificate(entry.build())
        crl = builder.sign(self._key, hashes.SHA256())
        write_atomically(self.folder / CRL_FILE, crl.public_bytes(serialization.Encoding.PEM))

    @property
    def revoked(self) -> dict[int, datetime]:
        """What is in the revocation list: serial numbers, and since when. Raises IdentityError."""
        path = self.folder / CRL_FILE
        try:
            crl = x509.load_pem_x509_crl(path.read_bytes())
            return {one.serial_number: one.revocation_date_utc for one in crl}
        except (OSError, ValueError) as error:
            raise IdentityError(f"{path}: no revocation list: {error}") from error

    def _write_server(
        self, stem: str, names: list[x509.GeneralName], now: datetime, valid: timedelta
    ) -> None:
        path = self.folder / f"{stem}.key"
        # A renewed certificate is for the same key: one file changes, so no crash parts the two.
        key = _read_key(path, None) if path.exists() else ec.generate_private_key(TLS_CURVE())
        subject = _name(str(names[0].value))
        certificate = self._certify(
            subject, key.public_key(), now, now + valid, ExtendedKeyUsageOID.SERVER_AUTH, names
        )
        if not path.exists():
            _write_key(path, key, None)
        write_atomically(self.folder / f"{stem}.pem", _pem(certificate))

    def _certify(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        now: datetime,
        end: datetime,
        purpose: x509.ObjectIdentifier,
        names: list[x509.GeneralName] | None = None,
    ) -> x509.Certificate:
        issuer = self.certificate.public_key()
        assert isinstance(issuer, ec.EllipticCurvePublicKey)
        builder = (
            _builder(subject, self.certificate.subject, key, now, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def read_certificate(path: Path) -> x509.Certificate:
    """Raises IdentityError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()[:MAX_FILE])
    except OSError as error:
        raise IdentityError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise IdentityError(f"{path}: no certificate (PEM)") from error


def pem(certificate: x509.Certificate) -> str:
    """The text of a certificate."""
    return _pem(certificate).decode()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    """A common name, which holds 64 signs (RFC 5280, upper bounds)."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _host(address: str) -> x509.GeneralName:
    return _general_name(address.rpartition(":")[0].strip("[]"))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> None:
    encryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    write_atomically(path, data, mode=0o600)


def _read_key(path: Path, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise IdentityError(f"{path}: others may read this key; `chmod 600 {path}`")
        key = serialization.load_pem_private_key(path.read_bytes()[:MAX_FILE], passphrase)
    except OSError as error:
        raise IdentityError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error
    except TypeError as error:
        needs = "is under a passphrase" if passphrase is None else "is under no passphrase"
        raise IdentityError(f"{path}: this key {needs}; see passphrase_file") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{path}: no private key, or under another passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityError(f"{path}: not an elliptic-curve key")
    return key
