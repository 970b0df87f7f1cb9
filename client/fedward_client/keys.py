"""The site's signing key and the secrets that follow from it, and how both outlive a rotation.

What is derived from a key under one of the `LASTING` labels has to stay the same when the key is
rotated: a blinded head that a coordinator holds is found again, and a record that was registered keeps
its fingerprint, a person their pseudonym. So a rotation keeps these secrets of the site's first key in
a file beside the key, and the audit log has its digest.
"""

import stat
from pathlib import Path

from fedward_client.settings import SiteSettings
from fedward_shared import canonical
from fedward_shared.errors import IdentityError
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey

LASTING = ("audit head", "record fingerprints", "pseudonyms")
MAX_PASSPHRASE = 1024
MAX_SECRETS = 4096


def load(settings: SiteSettings) -> SigningKey:
    """The site's signing key. Raises IdentityError."""
    return SigningKey.load(settings.key, passphrase(settings.key_passphrase))


def passphrase(path: Path | None) -> bytes | None:
    """The first line of `path`, a file that not everybody may read; None for no path.

    Its group may, because that is how systemd hands credentials to a service. Raises IdentityError.
    """
    if path is None:
        return None
    data = _secret(path, MAX_PASSPHRASE, stat.S_IRWXO | stat.S_IWGRP).split(b"\n")[0].rstrip(b"\r")
    if not data:
        raise IdentityError(f"{path}: the passphrase is empty (site.toml: key_passphrase)")
    return data


class Secrets:
    """What is derived from the key `key`, which lies in the file `path`.

    `kept` is the digest that the audit log has of the kept secrets, None if the key was never rotated.
    Raises IdentityError if they are gone or others.
    """

    def __init__(self, path: Path, key: SigningKey, kept: str | None) -> None:
        self.path = path.with_suffix(".secret")
        self._key = key
        self._kept = {} if kept is None else self._read(kept)

    def derive(self, label: str) -> bytes:
        """32 secret bytes for one purpose."""
        return self._kept.get(label) or self._key.derive(label)

    def keep(self) -> str:
        """Writes what has to outlive the key; its digest."""
        kept = {label: self.derive(label).hex() for label in LASTING}
        data = canonical.encode(kept)
        write_atomically(self.path, data, mode=0o600)
        return canonical.digest(data)

    def _read(self, digest: str) -> dict[str, bytes]:
        data = _secret(self.path, MAX_SECRETS, stat.S_IRWXO | stat.S_IRWXG)
        if canonical.digest(data) != digest:
            raise IdentityError(
                f"{self.path}: not the secrets that were kept when the key was rotated; restore the "
                "file from a backup"
            )
        return {label: bytes.fromhex(text) for label, text in canonical.decode(data).items()}


def _secret(path: Path, most: int, refused: int) -> bytes:
    try:
        if path.stat().st_mode & refused:
            raise IdentityError(f"{path}: others may read this file; `chmod 600 {path}`")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError as error:
        raise IdentityError(f"{path}: no such file; restore it from a backup") from error
    except OSError as error:
        raise IdentityError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise IdentityError(f"{path}: longer than {most} bytes")
    return data
