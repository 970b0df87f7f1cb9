"""Keys: what is saved is what is loaded, nobody else can read it, and nothing prints it."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedward_shared.errors import IdentityError
from fedward_shared.identity import PublicKey, SigningKey

# The first vector of RFC 8032, section 7.1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
    "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
FINGERPRINT_GROUPS = 10


def test_the_vector_of_the_rfc() -> None:
    key = SigningKey.from_seed(SEED)
    assert key.public.text == PUBLIC
    assert key.sign(b"").hex() == SIGNATURE
    assert PublicKey(PUBLIC).verifies(b"", bytes.fromhex(SIGNATURE))
    assert not PublicKey(PUBLIC).verifies(b"\x00", bytes.fromhex(SIGNATURE))
    assert not PublicKey(PUBLIC).verifies(b"", b"")


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_what_is_saved_is_what_is_loaded(passphrase: bytes | None, tmp_path: Path) -> None:
    path, key = tmp_path / "keys" / "site.key", SigningKey.generate()
    key.save(path, passphrase)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path, passphrase).public == key.public
    with pytest.raises(IdentityError, match="never written over"):
        SigningKey.generate().save(path)


@pytest.mark.parametrize(
    ("kept", "tried", "said"),
    [
        (b"right", b"wrong", "under another passphrase"),
        (b"right", None, "is under a passphrase"),
        (None, b"any", "is under no passphrase"),
    ],
)
def test_another_passphrase(kept: bytes | None, tried: bytes, said: str, tmp_path: Path) -> None:
    SigningKey.generate().save(tmp_path / "site.key", kept)
    with pytest.raises(IdentityError, match=said):
        SigningKey.load(tmp_path / "site.key", tried)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    SigningKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(IdentityError, match="others may read this key"):
        SigningKey.load(path)


def test_what_is_no_key_file(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    with pytest.raises(IdentityError, match="no such key file"):
        SigningKey.load(path)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    for content, said in [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\n", "no private key"),
        (b"x" * 20_000, "not a key file"),
        (other, "not an Ed25519 key"),
    ]:
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_bytes(content)
        with pytest.raises(IdentityError, match=said):
            SigningKey.load(path)
    with pytest.raises(IdentityError):
        SigningKey.load(tmp_path)


@pytest.mark.parametrize(
    "text", ["", PUBLIC.upper(), PUBLIC + "0", PUBLIC[:-1], "ssh-ed25519 AAAA"]
)
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(IdentityError, match="no public key"):
        PublicKey(text)


def test_a_private_key_is_never_printed() -> None:
    key = SigningKey.from_seed(SEED)
    for shown in (repr(key), str(key), f"{key}", str(vars(key))):
        assert SEED.hex() not in shown
        assert repr(SEED) not in shown
    assert repr(key) == f"SigningKey({PUBLIC})"


def test_fingerprints_tell_keys_apart() -> None:
    ours, theirs = SigningKey.generate().public, SigningKey.generate().public
    assert len(ours.fingerprint.split()) == FINGERPRINT_GROUPS
    assert ours.fingerprint != theirs.fingerprint
    assert {ours, PublicKey(ours.text)} == {ours}
