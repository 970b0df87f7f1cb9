"""The audit log: an append-only chain of signed entries, one a line, that anybody can check offline.

Each line is a statement of the institution (`statements.py`): its number, when, what happened, and the
digest of the line before. A change, a deletion, an insertion or another order breaks a signature or the
chain at a line that can be named. That the end was cut off shows only against a head that somebody
else keeps: a witness file at a second place, or what the coordinators have countersigned.

An institution that rotates its key says so in the log: the entry holds a statement that the old and
the new key have signed, and the new one signs what follows. Any of its keys shows whose log it is.

A head that leaves the institution is blinded (HMAC-SHA256 under a key of its own), so that whoever keeps
it learns nothing of other studies, and the institution can show later which line it was.
"""

import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedward_shared import canonical, key_change, statements
from fedward_shared.errors import AuditError, StatementError
from fedward_shared.identity import PublicKey, SigningKey

KIND = "fedward/audit/1"
START = "sha256:" + "0" * 64
"""What the first line names as the line before it."""

KEY_CHANGED = "key changed"
"""The entry whose `change` names the key that signs from the next line on."""

FIELDS = {"number", "at", "previous", "event", "details"}


@dataclass(frozen=True)
class Head:
    """How far a log goes: the number of its last line, and that line's digest."""

    number: int
    digest: str

    def blinded(self, key: bytes) -> str:
        """What may be shown to others: the same for the same head, and nothing else about it."""
        return hmac.digest(key, f"{self.number} {self.digest}".encode(), "sha256").hex()


EMPTY = Head(0, START)


@dataclass(frozen=True)
class Entry:
    """One line, and who signed it."""

    number: int
    at: str
    event: str
    details: dict[str, Any]
    head: Head
    signer: PublicKey


@dataclass(frozen=True)
class Chain:
    """How far a log was followed: its last head and the keys so far, of which the last one signs now."""

    path: Path
    head: Head = EMPTY
    keys: tuple[PublicKey, ...] = ()

    def follow(self, line: bytes) -> tuple[Entry, "Chain"]:
        """The entry in the next line. Raises AuditError that names the line if it does not follow."""
        number = self.head.number + 1
        origin = f"{self.path}, line {number}"
        signer = self.keys[-1] if self.keys else None
        entry = _entry(line, number, self.head.digest, signer, origin)
        keys = self.keys or (entry.signer,)
        if entry.event == KEY_CHANGED:
            keys = (*keys, _new_key(entry, origin))
        return entry, replace(self, head=entry.head, keys=keys)

    def belongs_to(self, key: PublicKey) -> None:
        """Raises AuditError unless `key` is one of those that have signed."""
        if self.keys and key not in self.keys:
            raise AuditError(f"{self.path}, line 1: not signed by this institution ({key.text})")


def read(path: Path, key: PublicKey) -> list[Entry]:
    """The entries in `path`, each of them checked.

    `key` is the institution's, any that it has signed the log with. Raises AuditError that names the
    first line which is not what the owner of that key wrote there.
    """
    chain, entries = Chain(path), []
    for line in _lines(path):
        entry, chain = chain.follow(line)
        entries.append(entry)
    chain.belongs_to(key)
    return entries


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while line := file.readline(statements.MAX_BYTES + 2):
                yield line
    except FileNotFoundError as error:
        raise AuditError(f"{path}: no such file") from error
    except OSError as error:
        raise AuditError(f"{path}: cannot be read: {error.strerror}") from error


def _entry(line: bytes, number: int, previous: str, signer: PublicKey | None, origin: str) -> Entry:
    """The entry in `line`; `signer` has to have signed it, None: one key, whichever that is."""
    if not line.endswith(b"\n"):
        raise AuditError(f"{origin}: the line is cut off")
    data = line[:-1]
    try:
        statement = statements.decode(data, KIND, origin)
    except StatementError as error:
        raise AuditError(f"{error}: the line was changed") from error
    key, *others = sorted(statement.signers, key=str)
    if others or signer not in (None, key):
        raise AuditError(f"{origin}: not signed by this institution ({signer or 'one key'})")
    body = statement.body
    if set(body) != FIELDS or not isinstance(body["details"], dict):
        raise AuditError(f"{origin}: not an entry of an audit log")
    if body["number"] != number:
        raise AuditError(
            f"{origin}: it is entry {body['number']}: a line before it was deleted, inserted or moved"
        )
    if body["previous"] != previous:
        raise AuditError(f"{origin}: it does not follow the line before it")
    return Entry(
        number,
        str(body["at"]),
        str(body["event"]),
        body["details"],
        Head(number, canonical.digest(data)),
        key,
    )


def _new_key(entry: Entry, origin: str) -> PublicKey:
    data = str(entry.details.get("change")).encode()
    try:
        return PublicKey(key_change.read(data, entry.signer, origin).new)
    except StatementError as error:
        raise AuditError(f"{error}: the key was not changed rightly") from error


def check_heads(entries: Iterable[Entry], heads: Iterable[Head], path: Path) -> None:
    """Raises AuditError unless each of `heads`, kept elsewhere, is that of an entry in `path`."""
    known = {entry.number: entry.head for entry in entries}
    for head in heads:
        if head.number > len(known):
            raise AuditError(
                f"{path}: it ends at entry {len(known)}, but entry {head.number} was seen elsewhere: "
                "the end was cut off, or an older copy was put here"
            )
        if head.number and known[head.number] != head:
            raise AuditError(f"{path}, line {head.number}: another entry was seen elsewhere")


@dataclass(frozen=True)
class Checked:
    """What a log was found to say up to a size, in bytes, and the SHA-256 of these bytes."""

    size: int
    digest: bytes
    entries: tuple[Entry, ...]
    chain: Chain


_checked: dict[Path, Checked] = {}
"""By the log's path. A standing process opens its log for each call: what is byte for byte what was
checked before is not checked again."""


class AuditLog:
    """The log in the file `path`, for the institution that holds `key`; made with its first entry.

    It is read and checked whole when it is opened. A last line that a crash cut off is removed: what
    it would have said was not done yet, because entries are written before what they say is done.
    Raises AuditError.
    """

    def __init__(self, path: Path, key: SigningKey) -> None:
        self.path = path
        self._key = key
        self._file: int | None = None
        self.entries: list[Entry] = []
        self._chain = Chain(path)
        self._size = 0
        self.refresh()

    def refresh(self) -> None:
        """Takes in what another process of this institution has written since. Raises AuditError."""
        if self._file is None and not self.path.exists():
            return
        with self._locked() as file:
            self._catch_up(file)

    @property
    def head(self) -> Head:
        """That of the last entry known."""
        return self._chain.head

    def append(self, event: str, details: dict[str, Any], at: datetime) -> Entry:
        """Writes one entry, on disk when this returns. `details` is a JSON object without decimals."""
        with self._locked() as file:
            self._catch_up(file)
            body = {
                "number": self.head.number + 1,
                "at": at.astimezone(UTC).isoformat(timespec="milliseconds"),
                "previous": self.head.digest,
                "event": event,
                "details": details,
            }
            line = statements.sign(KIND, body, self._key).encode() + b"\n"
            entry, chain = self._chain.follow(line)  # before it is written: it can be read again
            self._write(file, line)
            self._take(entry, chain, line)
            return entry

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._remember(self._file)
            os.close(self._file)
            self._file = None

    def _remember(self, file: int) -> None:
        known = _checked.get(self.path)
        if known is None or known.size != self._size:
            digest = hashlib.sha256(os.pread(file, self._size, 0)).digest()
            _checked[self.path] = Checked(self._size, digest, tuple(self.entries), self._chain)

    def _recall(self, file: int) -> None:
        known = _checked.get(self.path)
        if known is None or self._size:
            return
        if hashlib.sha256(os.pread(file, known.size, 0)).digest() == known.digest:
            self.entries, self._chain, self._size = list(known.entries), known.chain, known.size

    def _write(self, file: int, line: bytes) -> None:
        try:
            written = os.write(file, line)
            if written != len(line):
                raise OSError(28, "No space left on device")
            os.fsync(file)
        except OSError as error:
            os.ftruncate(file, self._size)
            raise AuditError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _catch_up(self, file: int) -> None:
        self._recall(file)
        size = os.fstat(file).st_size
        if size < self._size:
            raise AuditError(f"{self.path}: it has become shorter while it was open")
        data = os.pread(file, size - self._size, self._size)
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                os.ftruncate(file, self._size)
                break
            self._take(*self._chain.follow(line), line)
        self._check_own()

    def _take(self, entry: Entry, chain: Chain, line: bytes) -> None:
        self.entries.append(entry)
        self._chain = chain
        self._size += len(line)

    def _check_own(self) -> None:
        self._chain.belongs_to(self._key.public)
        if self._chain.keys and self._chain.keys[-1] != self._key.public:
            raise AuditError(
                f"{self.path}: the key was changed to {self._chain.keys[-1]}, but the site has "
                f"{self._key.public} before it; `fedward site rotate-key` ends a change that was cut off"
            )

    @contextmanager
    def _locked(self) -> Iterator[int]:
        if self._file is None:
            self._file = self._opened()
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield self._file
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _opened(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise AuditError(f"{self.path}: cannot be written: {error.strerror}") from error
