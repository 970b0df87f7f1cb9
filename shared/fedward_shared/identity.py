"""Signing keys of institutions and coordinators: Ed25519 (RFC 8032), and how people compare them.

A public key is written `ed25519:` and 64 hexadecimal digits, in charters, settings and statements. A
private key lies in a PEM file that only its owner may read, under a passphrase if one is wanted.
"""

import hashlib
import re
import stat
from functools import cached_property
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field

from fedward_shared.errors import IdentityError
from fedward_shared.files import write_atomically

PREFIX = "ed25519:"
KEY_PATTERN = r"^ed25519:[0-9a-f]{64}$"
KeyText = Annotated[str, Field(pattern=KEY_PATTERN)]
SIGNATURE_BYTES = 64
MAX_KEY_FILE = 16_384


class PublicKey:
    """Whose signatures are checked. Raises IdentityError for a text that is no key."""

    def __init__(self, text: str) -> None:
        if not re.fullmatch(KEY_PATTERN, text):
            raise IdentityError(f"{text[:80]!r} is no public key: {PREFIX} and 64 digits expected")
        self.text = text
        self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.removeprefix(PREFIX)))

    @cached_property
    def fingerprint(self) -> str:
        """For people to compare over the telephone: SHA-256 of the key, ten groups of four digits."""
        digits = hashlib.sha256(self.text.encode()).hexdigest()[:40]
        return " ".join(digits[i : i + 4] for i in range(0, 40, 4))

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the owner of this key has signed `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        """Equal keys have equal texts."""
        return isinstance(other, PublicKey) and other.text == self.text

    def __hash__(self) -> int:
        """By the text."""
        return hash(self.text)

    def __repr__(self) -> str:
        """The text."""
        return self.text


class SigningKey:
    """A private key. It is never printed: its representation is that of the public key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes_raw()
        self.public = PublicKey(PREFIX + raw.hex())

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new key from the operating system's entropy."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """The key of these 32 bytes, for simulations: whoever knows them can sign."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> "SigningKey":
        """The key in the PEM file `path`.

        Raises IdentityError for a file that is missing, may be read by others than its owner, is
        no Ed25519 key, or is under another passphrase.
        """
        try:
            mode = path.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise IdentityError(
                    f"{path}: others may read this key; `chmod 600 {path}`, or make a new one if "
                    "anybody may have"
                )
            if path.stat().st_size > MAX_KEY_FILE:
                raise IdentityError(f"{path}: not a key file: longer than {MAX_KEY_FILE} bytes")
            key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
        except FileNotFoundError as error:
            raise IdentityError(f"{path}: no such key file") from error
        except OSError as error:
            raise IdentityError(f"{path}: cannot be read: {error.strerror}") from error
        except TypeError as error:
            needs = "is under a passphrase" if passphrase is None else "is under no passphrase"
            raise IdentityError(f"{path}: this key {needs}") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise IdentityError(f"{path}: no private key, or under another passphrase") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise IdentityError(f"{path}: not an Ed25519 key")
        return cls(key)

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Writes a new file for the owner alone. Raises IdentityError if `path` is there already."""
        if path.exists():
            raise IdentityError(f"{path}: is there already; a key is never written over")
        encryption = (
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption()
        )
        data = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        write_atomically(path, data, mode=0o600)

    def derive(self, label: str) -> bytes:
        """32 secret bytes for one purpose (HKDF-SHA256, RFC 5869). They tell nothing of the key."""
        salt, info = b"fedward identity", label.encode()
        return HKDF(hashes.SHA256(), 32, salt, info).derive(self._key.private_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """64 bytes that nobody else can make."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        """Never the private part."""
        return f"SigningKey({self.public.text})"
