"""What a site has said and heard in one session, on disk before it goes out or is confirmed.

STATE/exchange/SESSION.sqlite, for its owner alone. An envelope's number is its nonce, so a message that
may have gone out must never be made a second time: a program that starts again after a crash is given
what it sent, from here. Envelopes lie here as they are on the wire; the session's private keys and the
program's state are under a key that follows from the site's.

A checkpoint forgets what the program will not ask for again and the peer has confirmed.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedward_shared.errors import ExchangeError, StateError
from fedward_shared.exchange.channel import Frame

FOLDER = "exchange"
JOURNAL = "exchange journal"
"""The label of the key."""
NONCE_BYTES = 12
SECRET_BYTES = 32
VERSION = 1
SCHEMA = """
CREATE TABLE peers (
    peer TEXT PRIMARY KEY,
    key BLOB NOT NULL,
    opening BLOB,
    confirmed INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE frames (
    peer TEXT NOT NULL REFERENCES peers (peer),
    direction TEXT NOT NULL,
    number INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (peer, direction, number)
) STRICT;
CREATE TABLE beginning (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    terms TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), sealed BLOB NOT NULL) STRICT;
"""
Direction = Literal["sent", "received"]
Reached = dict[str, tuple[int, int]]
"""For each peer, how many messages the program has sent and received."""


@dataclass(frozen=True)
class Said:
    """An envelope, as it went or came."""

    peer: str
    direction: Direction
    number: int
    sealed: bytes


@dataclass(frozen=True)
class Opened:
    """A peer's signed Opening."""

    peer: str
    opening: bytes


@dataclass(frozen=True)
class Confirmed:
    """How many messages the peer has confirmed."""

    peer: str
    number: int


@dataclass(frozen=True)
class Checkpoint:
    """The program's state, and where it is in the session."""

    state: bytes
    reached: Reached


Entry = Said | Opened | Confirmed | Checkpoint


@dataclass(frozen=True)
class Kept:
    """What the journal has of one peer. `sent` and `received`: where the last checkpoint is."""

    key: X25519PrivateKey
    opening: bytes | None
    confirmed: int
    sent: int
    received: int


def place(folder: Path, session: str) -> Path:
    """The file of a session's journal."""
    return folder / f"{session}.sqlite"


def remove(path: Path) -> None:
    """Of a session that is over, and whose journal nobody has open."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


class Journal:
    """The journal of `session`, under `key` (32 bytes); made if it is not there.

    Raises StateError for a file that cannot be used, or that is under another key.
    """

    def __init__(self, folder: Path, session: str, key: bytes) -> None:
        self.path = place(folder, session)
        self._session = session
        self._key = AESGCM(key)
        self._lock = threading.RLock()
        with self._told():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            # Any thread may use it, one at a time.
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._prepare()

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise StateError(f"{self.path}: of version {version}, and this release reads {VERSION}")

    def close(self) -> None:
        """Nothing is written after that."""
        self._db.close()

    @property
    def is_new(self) -> bool:
        """Whether the session was never begun here."""
        with self._told():
            return self._db.execute("SELECT 1 FROM beginning").fetchone() is None

    def begin(self, terms: str) -> bytes:
        """The secret of the session, 32 bytes, from which all that the program draws follows.

        It is drawn once: a program that runs again draws the same. So whatever it is run on has to be
        the same, too, since noise that hides two things hides neither: `terms`, a digest, says what that
        was. Raises StateError for another one.
        """
        with self._told():
            row = self._db.execute("SELECT terms, sealed FROM beginning").fetchone()
            if row is None:
                secret = os.urandom(SECRET_BYTES)
                sealed = self._seal("secret", secret)
                self._db.execute("INSERT INTO beginning VALUES (1, ?, ?)", (terms, sealed))
                return secret
        if row[0] != terms:
            raise StateError(
                f"{self.path}: the records of this site, or whose are left out, have changed since the "
                "session began; put back what was there, or have the coordinator open another session, "
                "which is paid for anew"
            )
        return self._open("secret", row[1])

    def peer(self, name: str) -> Kept:
        """What there is of a peer; a new key, on disk, for one that was not known. Raises StateError."""
        with self._told():
            row = self._db.execute(
                "SELECT key, opening, confirmed, sent, received FROM peers WHERE peer = ?", (name,)
            ).fetchone()
            if row is None:
                key = X25519PrivateKey.generate()
                sealed = self._seal(f"key {name}", key.private_bytes_raw())
                self._db.execute("INSERT INTO peers (peer, key) VALUES (?, ?)", (name, sealed))
                return Kept(key, None, 0, 0, 0)
            raw = self._open(f"key {name}", row[0])
            return Kept(X25519PrivateKey.from_private_bytes(raw), *row[1:])

    def write(self, entries: Iterable[Entry]) -> None:
        """All of them are on disk when this returns, or none. Raises StateError."""
        with self._told(), self._transaction():
            for entry in entries:
                self._write(entry)

    def sealed(self, peer: str, direction: Direction, number: int) -> bytes:
        """The envelope with that number. Raises ExchangeError if it is not here any more."""
        with self._told():
            row = self._db.execute(
                "SELECT sealed FROM frames WHERE peer = ? AND direction = ? AND number = ?",
                (peer, direction, number),
            ).fetchone()
        if row is None:
            raise ExchangeError(f"{self.path}: message {number} {direction}, {peer}: is not there")
        return bytes(row[0])

    def last(self, peer: str, direction: Direction, base: int) -> int:
        """The number of the last envelope; `base` where there is none after that."""
        with self._told():
            (number,) = self._db.execute(
                "SELECT max(number) FROM frames WHERE peer = ? AND direction = ?", (peer, direction)
            ).fetchone()
        return max(base, number or 0)

    def unconfirmed(self, peer: str, confirmed: int) -> list[Frame]:
        """What was sent after that, in order."""
        with self._told():
            rows = self._db.execute(
                "SELECT number, sealed FROM frames"
                " WHERE peer = ? AND direction = 'sent' AND number > ? ORDER BY number",
                (peer, confirmed),
            ).fetchall()
        return [Frame("data", number, bytes(sealed)) for number, sealed in rows]

    @property
    def state(self) -> bytes:
        """The program's state at the last checkpoint, empty before. Raises StateError."""
        with self._told():
            row = self._db.execute("SELECT sealed FROM state").fetchone()
        return b"" if row is None else self._open("state", row[0])

    def _write(self, entry: Entry) -> None:
        match entry:
            case Said(peer, direction, number, sealed):
                self._db.execute(
                    "INSERT INTO frames VALUES (?, ?, ?, ?)", (peer, direction, number, sealed)
                )
            case Opened(peer, opening):
                self._db.execute("UPDATE peers SET opening = ? WHERE peer = ?", (opening, peer))
            case Confirmed(peer, number):
                self._db.execute("UPDATE peers SET confirmed = ? WHERE peer = ?", (number, peer))
            case Checkpoint(state, reached):
                self._checkpoint(state, reached)

    def _checkpoint(self, state: bytes, reached: Reached) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO state VALUES (1, ?)", (self._seal("state", state),)
        )
        for peer, (sent, received) in reached.items():
            self._db.execute(
                "UPDATE peers SET sent = ?, received = ? WHERE peer = ?", (sent, received, peer)
            )
        self._db.execute(
            "DELETE FROM frames WHERE EXISTS (SELECT 1 FROM peers WHERE peers.peer = frames.peer AND"
            " (direction = 'sent' AND number <= min(sent, confirmed)"
            " OR direction = 'received' AND number <= received))"
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (sqlite3.Error, OSError) as error:
            raise StateError(
                f"{self.path}: {error}: is the disk full, or the file damaged?"
            ) from error

    def _seal(self, what: str, data: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._key.encrypt(nonce, data, self._bound(what))

    def _open(self, what: str, sealed: bytes) -> bytes:
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._key.decrypt(nonce, rest, self._bound(what))
        except (InvalidTag, ValueError) as error:
            raise StateError(
                f"{self.path}: {what}: cannot be opened with this site's key; was the key rotated "
                "in the middle of the session?"
            ) from error

    def _bound(self, what: str) -> bytes:
        return json.dumps([JOURNAL, self._session, what]).encode()
