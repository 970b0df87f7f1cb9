"""What a site keeps of a masked round while it lasts: encrypted files that expire.

They lie in the folder `masks` of the runtime folder, which is in memory where the site is deployed. A
file is the time at which it expires (8 bytes, milliseconds since the epoch), a nonce, and AES-256-GCM
of the content, under a key that follows from the site's. What cannot be opened counts as gone: that
nothing is answered twice does not depend on it, since the audit log has every such answer.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedward_shared.errors import StateError
from fedward_shared.files import write_atomically

FOLDER = "masks"
TIME_BYTES, NONCE_BYTES = 8, 12
VAULT = "mask vault"
"""The label of the key."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Vault:
    """The files of the study with the digest `charter`, under `key` (32 bytes)."""

    runtime: Path
    key: bytes
    charter: str

    def write(self, name: str, data: bytes, expires: datetime) -> None:
        """Keeps `data` under `name` until `expires`. Raises StateError where it cannot be written."""
        until = _time(expires).to_bytes(TIME_BYTES, "big")
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(self.key).encrypt(nonce, data, until + self._bound(name))
        path = self._path(name)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, until + nonce + sealed, mode=0o600)
        except OSError as error:
            raise StateError(f"{path}: cannot be written: {error.strerror}") from error

    def read(self, name: str, now: datetime) -> bytes | None:
        """What is kept under `name`; None if there is nothing, any more, or that can be opened."""
        path = self._path(name)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        until, data = data[:TIME_BYTES], data[TIME_BYTES:]
        if _expired(until, now):
            path.unlink(missing_ok=True)
            return None
        try:
            nonce, sealed = data[:NONCE_BYTES], data[NONCE_BYTES:]
            return AESGCM(self.key).decrypt(nonce, sealed, until + self._bound(name))
        except (InvalidTag, ValueError):
            log.warning("the secrets of a masked round cannot be opened", path=str(path))
            return None

    def erase(self, *names: str) -> None:
        """Nothing is kept under `names` any more."""
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.runtime / FOLDER / f"{self.charter.partition(':')[2]}.{name}"

    def _bound(self, name: str) -> bytes:
        return f"{self.charter} {name}".encode()


def sweep(runtime: Path, now: datetime) -> None:
    """Erases what has expired, of whatever study."""
    for path in (runtime / FOLDER).glob("*"):
        with path.open("rb") as file:
            until = file.read(TIME_BYTES)
        if _expired(until, now):
            path.unlink(missing_ok=True)


def _time(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)


def _expired(until: bytes, now: datetime) -> bool:
    return len(until) < TIME_BYTES or int.from_bytes(until, "big") <= _time(now)
