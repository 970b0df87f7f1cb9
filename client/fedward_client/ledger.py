"""The ledger: what each account of this site has spent, on disk before the data is touched.

SQLite, one row per booking. A booking is *reserved*, and thereby spent, before the first access to
the data; its update *closes* it and gives nothing back. An update that was computed is kept until
the next one of its study, so that a repeated request gets the identical bytes at no cost. What is
computed again is booked again.

Bookings are chained: each has the digest of itself and the chain before it. The audit log gets every
booking before the ledger commits it, so that either of the two, restored from an older copy, no longer
fits the other (`reconciliation.py`). Which records belong to which account is in `registry.py`.
"""

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from fedward_client import registry
from fedward_client.registry import Registry
from fedward_shared import canonical
from fedward_shared.errors import BudgetExceeded, PrivacyError, StateError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event

VERSION = 4
SET_ASIDE = """
CREATE TABLE set_aside (
    charter TEXT NOT NULL,
    place INTEGER NOT NULL,
    account TEXT NOT NULL,
    event TEXT NOT NULL,
    rounds INTEGER NOT NULL,
    PRIMARY KEY (charter, place)
) STRICT"""
MIGRATIONS = {
    2: registry.SCHEMA,
    3: ";".join(
        (
            "ALTER TABLE set_aside RENAME TO set_aside_3",
            SET_ASIDE,
            "INSERT INTO set_aside SELECT charter, 1, account, event, rounds FROM set_aside_3",
            "DROP TABLE set_aside_3",
        )
    ),
}
"""What takes a ledger of an older version to the next one."""

SCHEMA = (
    """
CREATE TABLE accounts (
    name TEXT PRIMARY KEY,
    delta REAL NOT NULL CHECK (delta > 0 AND delta < 1)
) STRICT;
CREATE TABLE bookings (
    number INTEGER PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name),
    charter TEXT NOT NULL,
    round INTEGER NOT NULL,
    request TEXT NOT NULL,
    event TEXT NOT NULL,
    at TEXT NOT NULL,
    chain TEXT NOT NULL,
    closed_at TEXT,
    delivery BLOB,
    answer BLOB
) STRICT;
CREATE INDEX bookings_by_account ON bookings (account);
CREATE INDEX bookings_by_request ON bookings (charter, round, request);
"""
    + registry.SCHEMA
    + SET_ASIDE
)
SELECT = (
    "SELECT number, account, delta, charter, round, request, event, at, chain"
    " FROM bookings JOIN accounts ON accounts.name = bookings.account"
)
START = canonical.digest(b"")
"""The chain before the first booking."""


def now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Booking:
    """One use of an account's data: what was done to it, for which request of which study, and when.

    `event` is an `Event` as text, `delta` the account's. `chain` is the digest of all this and of the
    chain before it.
    """

    number: int
    account: str
    delta: str
    charter: str
    round: int
    request: str
    event: str
    at: str
    chain: str = ""

    def after(self, chain: str) -> "Booking":
        """This booking as the one that follows `chain`."""
        content = {"before": chain, **asdict(replace(self, chain=""))}
        return replace(self, chain=canonical.digest(canonical.encode(content)))

    def as_json(self) -> dict[str, Any]:
        """As the audit log has it."""
        return asdict(self)


Studies = dict[str, list[Event]]
"""What was done, or may still be done, to an account's data, by the digest of the charter."""


@dataclass(frozen=True)
class Spending:
    """What an account has spent at its δ, infinite once it was used without DP.

    `epsilon` composes all bookings. `held` is what counts against the account's limit: the same where
    one study has used the account, a Rényi filter over several. `set_aside` is `held` if every approved
    study runs to its end.
    """

    account: str
    epsilon: float
    held: float
    set_aside: float
    delta: float
    bookings: int
    open_bookings: int


def held(studies: Studies, delta: float) -> float:
    """What counts against an account's limit. A charter fixes its study beforehand; studies are chosen
    one after the other, in the light of what came before."""
    events = [event for done in studies.values() for event in done]
    if sum(any(event.counted for event in done) for done in studies.values()) > 1:
        return accountant.filtered_epsilon(events, delta)
    return accountant.epsilon(events, delta)


@dataclass(frozen=True)
class Limit:
    """How much ε at which δ an account or a study may spend, and who says so.

    Infinite ε is the limit of those who agreed, in plain words, to a study without DP.
    """

    name: str
    set_by: str
    epsilon: float
    delta: float

    def check(self, before: Studies, after: Studies, what: str) -> None:
        """Raises BudgetExceeded if `after`, which is `before` with `what`, costs more than the limit."""
        if math.isinf(self.epsilon):
            return
        cost = held(after, self.delta)
        if cost > self.epsilon:
            raise BudgetExceeded(
                f"{self.name}: spent ε = {held(before, self.delta):.4f}, with {what} ε = {cost:.4f}, "
                f"but {self.set_by} allows ε = {self.epsilon:g} at δ = {self.delta:g}"
            )


class Ledger:
    """The ledger in the file `path`, made if there is none.

    Raises StateError for a file that is corrupt, of another version, or held by another process: it
    never starts afresh on its own.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = now) -> None:
        self.path = path
        self._clock = clock
        new = not path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
            # WAL with synchronous=FULL: a committed booking survives a power cut.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            self.registry = Registry(self._db)
            if new:
                with self.exclusively():
                    self._make(SCHEMA, VERSION)
                path.chmod(0o600)
            self._check()
        except (sqlite3.Error, OSError) as error:
            raise StateError(
                f"{path}: the ledger cannot be read ({error}); nothing was changed. Restore it from "
                "a backup, or ask the data-protection officer before any new one is begun"
            ) from error

    def _check(self) -> None:
        if self._version != VERSION and self._version not in MIGRATIONS:
            raise StateError(
                f"{self.path}: ledger version {self._version}, this release reads version {VERSION}"
            )
        problems = [row[0] for row in self._db.execute("PRAGMA quick_check").fetchall()]
        if problems != ["ok"]:
            raise StateError(f"{self.path}: the ledger is corrupt: {problems[0]}")
        self._check_chain()
        self._migrate()
        self.registry.check_chain(self.path)

    @property
    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """Takes a ledger of an older version to this one, all at once or not at all."""
        if self._version == VERSION:
            return
        with self.exclusively():
            while (
                version := self._version
            ) != VERSION:  # asked again: another may have been faster
                self._make(MIGRATIONS[version], version + 1)

    def _make(self, schema: str, version: int) -> None:
        for statement in schema.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version={version:d}")

    def _check_chain(self) -> None:
        chain = START
        for number, booking in enumerate(self.bookings(), 1):
            if booking.number != number or booking.after(chain) != booking:
                raise StateError(
                    f"{self.path}: booking {booking.number} is not what was booked: the ledger was "
                    "changed by something else than fedward"
                )
            chain = booking.chain

    def bookings(self) -> Iterator[Booking]:
        """All bookings, the first one first."""
        for row in self._db.execute(f"{SELECT} ORDER BY number"):
            yield _booking(row)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Nobody else writes meanwhile; what is raised within undoes what was written within.

        Raises StateError where the file cannot be written: the disk is full, or it is held too long.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite may have undone it when the disk was full
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StateError(f"{self.path}: the ledger cannot be written: {error}") from error

    def reserve(
        self,
        account: "Limit",
        study: "Limit",
        round_number: int,
        request: str,
        event: Event,
        announce: Callable[[Booking], None] = lambda _: None,
    ) -> int:
        """Books `event` before the data is touched and returns the booking's number.

        Refused, with nothing written, if all bookings of the account would pass the account's
        limit, or those of this study (named by its charter's digest) the study's. `announce` is told
        before the booking is committed; if it raises, nothing is booked. Raises BudgetExceeded, or
        PrivacyError for an account whose δ has changed.
        """
        with self.exclusively():
            self.check(account, study, [event], "this round")
            last = self.head
            booking = Booking(
                number=last.number + 1 if last else 1,
                account=account.name,
                delta=repr(account.delta),
                charter=study.name,
                round=round_number,
                request=request,
                event=event.as_text(),
                at=self.at(),
            ).after(last.chain if last else START)
            self.insert(booking)
            announce(booking)
        return booking.number

    def check(self, account: "Limit", study: "Limit", events: Sequence[Event], what: str) -> None:
        """Raises as `reserve` would for `events`, which are `what`, one after the other."""
        self._check_delta(account)
        done, kept = self.studies(account.name), self._set_aside(account.name)
        after = {**done, study.name: [*done.get(study.name, []), *events]}
        account.check(_joined(done, kept), _joined(after, kept), what)
        one = {study.name: done.get(study.name, [])}
        study.check(one, {study.name: after[study.name]}, what)

    @property
    def head(self) -> Booking | None:
        """The last booking."""
        row = self._db.execute(f"{SELECT} ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else _booking(row)

    def insert(self, booking: Booking) -> None:
        """Takes in a booking that follows the last one; within `exclusively`."""
        self._db.execute(
            "INSERT OR IGNORE INTO accounts VALUES (?, ?)", (booking.account, float(booking.delta))
        )
        self._db.execute(
            "INSERT INTO bookings (number, account, charter, round, request, event, at, chain)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                booking.number,
                booking.account,
                booking.charter,
                booking.round,
                booking.request,
                booking.event,
                booking.at,
                booking.chain,
            ),
        )

    def _check_delta(self, account: "Limit") -> None:
        known = self._db.execute(
            "SELECT delta FROM accounts WHERE name = ?", (account.name,)
        ).fetchone()
        if known is not None and known[0] != account.delta:
            raise PrivacyError(
                f"account {account.name}: its δ is {known[0]:g} and stays so; it was given as "
                f"{account.delta:g}"
            )

    def at(self) -> str:
        """Now, as the ledger writes it."""
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds")

    def complete(self, number: int, delivery: bytes, update: bytes) -> None:
        """Closes a booking with the bytes that may leave for it; older ones of the study go."""
        with self.exclusively():
            self._db.execute(
                "UPDATE bookings SET delivery = NULL, answer = NULL WHERE charter = "
                "(SELECT charter FROM bookings WHERE number = ?) AND number != ?",
                (number, number),
            )
            self._db.execute(
                "UPDATE bookings SET closed_at = ?, delivery = ?, answer = ? WHERE number = ?",
                (self.at(), delivery, update, number),
            )

    def unanswered(self, number: int) -> Booking:
        """The booking with this number, for which nothing has left yet. Raises StateError."""
        found = self._booking_where("number = ? AND closed_at IS NULL", number)
        if found is None:
            raise StateError(f"{self.path}: no open booking {number}; each lets out one update")
        return found

    def booking(self, number: int) -> Booking:
        """The booking with this number. Raises StateError."""
        found = self._booking_where("number = ?", number)
        if found is None:
            raise StateError(f"{self.path}: no booking {number}")
        return found

    def booked(self, charter: str, number: int, request: str) -> Booking | None:
        """The study's booking for exactly this request, if there is one."""
        row = self._db.execute(
            f"{SELECT} WHERE charter = ? AND round = ? AND request = ?", (charter, number, request)
        ).fetchone()
        return None if row is None else _booking(row)

    def requests_after(self, charter: str, number: int) -> list[str]:
        """The requests of the study's bookings of rounds beyond `number`, each once, the first first."""
        rows = self._db.execute(
            "SELECT request FROM bookings WHERE charter = ? AND round > ?"
            " GROUP BY request ORDER BY min(number)",
            (charter, number),
        )
        return [request for (request,) in rows]

    def _booking_where(self, condition: str, number: int) -> Booking | None:
        row = self._db.execute(f"{SELECT} WHERE {condition}", (number,)).fetchone()
        return None if row is None else _booking(row)

    def last_round(self, charter: str) -> int:
        """The highest round of the study that was ever booked, 0 for none."""
        (number,) = self._db.execute(
            "SELECT max(round) FROM bookings WHERE charter = ?", (charter,)
        ).fetchone()
        return number or 0

    def answer(self, charter: str, round_number: int, request: str) -> tuple[bytes, bytes] | None:
        """Delivery and update already made for exactly this request, or None."""
        row = self._db.execute(
            "SELECT delivery, answer FROM bookings WHERE charter = ? AND round = ? AND request = ?"
            " AND answer IS NOT NULL ORDER BY number DESC LIMIT 1",
            (charter, round_number, request),
        ).fetchone()
        return None if row is None else (bytes(row[0]), bytes(row[1]))

    def spending(self, account: str) -> Spending:
        """What `account` has spent so far. One that nobody approved a study for has no δ yet."""
        row = self._db.execute("SELECT delta FROM accounts WHERE name = ?", (account,)).fetchone()
        if row is None:
            return Spending(account, 0.0, 0.0, 0.0, 0.0, 0, 0)
        studies = self.studies(account)
        events = [event for done in studies.values() for event in done]
        (still_open,) = self._db.execute(
            "SELECT count(*) FROM bookings WHERE account = ? AND closed_at IS NULL", (account,)
        ).fetchone()
        return Spending(
            account,
            accountant.epsilon(events, row[0]),
            held(studies, row[0]),
            held(_joined(studies, self._set_aside(account)), row[0]),
            row[0],
            len(events),
            still_open,
        )

    def studies(self, account: str) -> Studies:
        """What was done to the data of `account`, by charter."""
        found: Studies = {}
        for charter, event in self._db.execute(
            "SELECT charter, event FROM bookings WHERE account = ? ORDER BY number", (account,)
        ):
            found.setdefault(charter, []).append(Event.from_text(event))
        return found

    def begun_since(self, moment: datetime) -> int:
        """How many bookings there are since then, of whatever study."""
        at = moment.astimezone(UTC).isoformat(timespec="milliseconds")
        row = self._db.execute("SELECT count(*) FROM bookings WHERE at > ?", (at,)).fetchone()
        return int(row[0])

    def set_aside(self, account: "Limit", charter: str, events: Sequence[Event]) -> None:
        """Keeps `events` for a study that is approved, in their order, until they are released.

        Raises BudgetExceeded if the account's limit does not allow that beside what was spent and what
        other approved studies may still spend.
        """
        with self.exclusively():
            self._check_delta(account)
            done, kept = self.studies(account.name), self._set_aside(account.name)
            wanted = {**kept, charter: list(events)}
            account.check(_joined(done, kept), _joined(done, wanted), "all rounds of this study")
            self._open_account(account)
            self._db.execute("DELETE FROM set_aside WHERE charter = ?", (charter,))
            for place, (event, same) in enumerate(groupby(events), start=1):
                row = (charter, place, account.name, event.as_text(), len(list(same)))
                self._db.execute("INSERT INTO set_aside VALUES (?, ?, ?, ?, ?)", row)

    def _open_account(self, account: "Limit") -> None:
        """Its δ is that of the first approval, or the first booking, and stays so."""
        self._db.execute(
            "INSERT OR IGNORE INTO accounts VALUES (?, ?)", (account.name, account.delta)
        )

    def release(self, charter: str) -> None:
        """What was kept for a study and not spent is free again."""
        with self.exclusively():
            self._db.execute("DELETE FROM set_aside WHERE charter = ?", (charter,))

    def release_all(self) -> None:
        """What was kept for any study and not spent is free again."""
        with self.exclusively():
            self._db.execute("DELETE FROM set_aside")

    def _set_aside(self, account: str) -> Studies:
        rows = self._db.execute(
            "SELECT charter, event, rounds FROM set_aside WHERE account = ? ORDER BY charter, place",
            (account,),
        ).fetchall()
        kept: Studies = {}
        for charter, event, rounds in rows:
            kept.setdefault(charter, []).extend([Event.from_text(event)] * rounds)
        return kept


def _joined(done: Studies, kept: Studies) -> Studies:
    """What each study has done or may still do: its bookings draw on what was set aside for it."""
    return {
        charter: [*done.get(charter, []), *kept.get(charter, [])[len(done.get(charter, [])) :]]
        for charter in {**done, **kept}
    }


def _booking(row: tuple[Any, ...]) -> Booking:
    number, account, delta, *others = row
    return Booking(number, account, repr(delta), *others)


def shown(epsilon: float) -> str:
    """ε for people."""
    return "unbounded" if math.isinf(epsilon) else f"{epsilon:.4f}"
