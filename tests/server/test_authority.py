"""Certificates: what each is good for, for how long, and that the keys stay where they are."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fedward_server.authority import CA_FILE, CRL_FILE, Authority, read_certificate
from fedward_shared.errors import IdentityError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ADDRESS = "fl.university.example:8443"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority.create(tmp_path / "authority", "university", None, NOW)
    made.certify_server(ADDRESS, NOW)
    made.certify_loopback(NOW)
    made.write_revoked({}, NOW)
    return made


def client(authority: Authority, site: str = "north") -> x509.Certificate:
    return authority.certify_site(site, ec.generate_private_key(ec.SECP256R1()).public_key(), NOW)


def policy(authority: Authority, now: datetime) -> PolicyBuilder:
    return PolicyBuilder().store(Store([authority.certificate])).time(now)


def test_a_server_certificate_is_for_its_address(authority: Authority) -> None:
    server = read_certificate(authority.folder / "server.pem")
    own = x509.DNSName("fl.university.example")
    policy(authority, NOW).build_server_verifier(own).verify(server, [])
    with pytest.raises(VerificationError):
        policy(authority, NOW).build_server_verifier(x509.DNSName("x.example")).verify(server, [])
    with pytest.raises(VerificationError):
        policy(authority, NOW + 91 * DAY).build_server_verifier(own).verify(server, [])


def test_a_sites_certificate_names_it_and_is_no_servers(authority: Authority) -> None:
    made = client(authority)
    assert made.subject.rfc4514_string() == "CN=north"
    (usage,) = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert usage == x509.ExtendedKeyUsageOID.CLIENT_AUTH
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_valid_before_utc < NOW
    assert made.not_valid_after_utc == NOW + 90 * DAY
    made.verify_directly_issued_by(authority.certificate)


def test_the_superlinks_certificate_holds_as_long_as_the_authority(authority: Authority) -> None:
    made = read_certificate(authority.folder / "superlink.pem")
    late = authority.certificate.not_valid_after_utc - DAY
    policy(authority, late).build_server_verifier(x509.DNSName("localhost")).verify(made, [])


def test_a_server_certificate_is_renewed_for_the_same_key(authority: Authority) -> None:
    key = (authority.folder / "server.key").read_bytes()
    old = read_certificate(authority.folder / "server.pem")
    assert not authority.is_server_due(ADDRESS, NOW + 59 * DAY)
    assert authority.is_server_due(ADDRESS, NOW + 60 * DAY)
    assert authority.is_server_due("elsewhere.example:8443", NOW)
    authority.certify_server(ADDRESS, NOW + 60 * DAY)
    new = read_certificate(authority.folder / "server.pem")
    assert (authority.folder / "server.key").read_bytes() == key
    assert new.public_key() == old.public_key()
    assert new.not_valid_after_utc == old.not_valid_after_utc + 60 * DAY
    assert not authority.is_server_due(ADDRESS, NOW + 60 * DAY)


def test_an_address_may_be_a_number(authority: Authority) -> None:
    for address in ("192.0.2.1:8443", "[2001:db8::1]:8443"):
        authority.certify_server(address, NOW)
        assert not authority.is_server_due(address, NOW)


def test_the_revocation_list_holds_what_was_revoked(authority: Authority) -> None:
    assert authority.revoked == {}
    made = client(authority)
    authority.write_revoked({made.serial_number: NOW}, NOW)
    assert authority.revoked == {made.serial_number: NOW}
    crl = x509.load_pem_x509_crl((authority.folder / CRL_FILE).read_bytes())
    key = authority.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)
    assert crl.next_update_utc == authority.certificate.not_valid_after_utc
    (authority.folder / CRL_FILE).write_bytes(b"nothing")
    with pytest.raises(IdentityError, match=r"crl\.pem: no revocation list"):
        _ = authority.revoked


def test_keys_are_for_their_owner_alone(authority: Authority) -> None:
    assert authority.folder.stat().st_mode & 0o777 == 0o700
    for path in authority.folder.glob("*.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(authority) + str(vars(authority))
    path = authority.folder / "ca.key"
    path.chmod(0o640)
    with pytest.raises(IdentityError, match="others may read this key"):
        Authority.load(authority.folder, None)


def test_a_passphrase_opens_the_key_and_nothing_else_does(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    made = Authority.create(folder, "university", b"correct horse", NOW)
    assert b"ENCRYPTED" in (folder / "ca.key").read_bytes()
    assert Authority.load(folder, b"correct horse").certificate == made.certificate
    for wrong, words in ((b"wrong", "another passphrase"), (None, "is under a passphrase")):
        with pytest.raises(IdentityError, match=words) as caught:
            Authority.load(folder, wrong)
        assert "horse" not in str(caught.value)


def test_what_is_no_pair_or_no_key_is_refused(authority: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other", "other", None, NOW)
    (authority.folder / CA_FILE).write_bytes((other.folder / CA_FILE).read_bytes())
    with pytest.raises(IdentityError, match="not a pair"):
        Authority.load(authority.folder, None)
    key = authority.folder / "ca.key"
    key.write_text("no key")
    with pytest.raises(IdentityError, match=r"ca\.key: no private key"):
        Authority.load(authority.folder, None)
    key.unlink()
    with pytest.raises(IdentityError, match=r"ca\.key: cannot be read: No such file"):
        Authority.load(authority.folder, None)
