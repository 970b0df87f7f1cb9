"""Ledger, audit log and witness have to fit: one that was restored from an older copy is noticed.

The audit log gets every booking and every registration of a dataset before the ledger commits it. So the
ledger is where the log says, or one of them behind after a crash: a booking is then booked from the log;
a registration is given up, and has to be made again before anything is booked for its file. All else is
an older copy of one of the two. Older copies of both fit each other, and not the witness: a file at a
place of the site's choice that holds the log's head.

Nothing is mended but the crash. `recover` is for a person who has decided; unless a witness confirms
that the log is the newest, what was spent is unknown from then on, and the accounts are closed.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from fedward_client import registry
from fedward_client.ledger import START, Booking, Ledger
from fedward_client.registry import Registration
from fedward_shared import canonical
from fedward_shared.audit import AuditLog, Entry, Head, check_heads
from fedward_shared.errors import AuditError, StateError
from fedward_shared.files import write_atomically

RESERVED = "reserved"
REGISTERED = "registered"
REBOOKED = "rebooked"
GIVEN_UP = "registration given up"
RECOVERED = "recovered"
WITNESSED = "witnessed"

ADVICE = (
    "Restore the newest copies of ledger and audit log from a backup. If there are none, the "
    "data-protection officer decides; `fedward site recover` then charges the worst case"
)


@dataclass(frozen=True)
class Position:
    """How far a ledger goes: number and chain of its last booking, and of its last registration."""

    number: int
    chain: str
    registrations: int = 0
    registered: str = registry.START

    def __str__(self) -> str:
        """For people."""
        return f"booking {self.number} and registration {self.registrations}"

    def after(self, one: Booking | Registration) -> "Position":
        """Where a ledger is that has taken in `one`."""
        if isinstance(one, Booking):
            return replace(self, number=one.number, chain=one.chain)
        return replace(self, registrations=one.number, registered=one.chain)


BEFORE_ALL = Position(0, START)


class Witness:
    """The file `path`, which holds the last head of the site's audit log."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Head | None:
        """The head it holds, None if there is no such file. Raises StateError for anything else."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{self.path}: cannot be read: {error.strerror}") from error
        return self.parse(data, self.path)

    @staticmethod
    def parse(data: bytes, path: Path) -> Head:
        """The head in the bytes of a witness. Raises StateError."""
        try:
            content = canonical.decode(data)
            number, digest = content["number"], content["digest"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StateError(f"{path}: not a witness of an audit log. {ADVICE}") from error
        if type(number) is not int or type(digest) is not str:
            raise StateError(f"{path}: not a witness of an audit log. {ADVICE}")
        return Head(number, digest)

    def write(self, head: Head) -> None:
        """Raises StateError where it cannot be written: what is not witnessed is not done."""
        data = canonical.encode({"number": head.number, "digest": head.digest})
        try:
            write_atomically(self.path, data, mode=0o600)
        except OSError as error:
            raise StateError(f"{self.path}: cannot be written: {error.strerror}") from error


def position(ledger: Ledger) -> Position:
    """Where the ledger is."""
    at = BEFORE_ALL
    for last in (ledger.head, ledger.registry.last):
        at = at if last is None else at.after(last)
    return at


def announced(entry: Entry) -> Booking:
    """The booking that an entry announces. Raises AuditError."""
    try:
        return Booking(**entry.details["booking"])
    except (KeyError, TypeError) as error:
        raise AuditError(f"entry {entry.number} of the audit log announces no booking") from error


def announced_registration(entry: Entry) -> Registration:
    """The registration that an entry announces. Raises AuditError."""
    try:
        return Registration(**entry.details["registration"])
    except (KeyError, TypeError) as error:
        raise AuditError(
            f"entry {entry.number} of the audit log announces no registration"
        ) from error


@dataclass(frozen=True)
class Expected:
    """Where the ledger is by the log, and before `last`, which the log announced last."""

    at: Position = BEFORE_ALL
    before: Position = BEFORE_ALL
    last: Booking | Registration | None = None


def expected(log: AuditLog) -> Expected:
    """What the log says of the ledger. Raises AuditError."""
    found = Expected()
    for entry in log.entries:
        if entry.event == RESERVED:
            last: Booking | Registration = announced(entry)
            found = Expected(found.at.after(last), found.at, last)
        elif entry.event == REGISTERED:
            last = announced_registration(entry)
            found = Expected(found.at.after(last), found.at, last)
        elif entry.event == GIVEN_UP:
            found = Expected(found.before)
        elif entry.event == RECOVERED:
            found = Expected(_recovered(entry))
    return found


def _recovered(entry: Entry) -> Position:
    details = entry.details
    at = Position(int(details["number"]), str(details["chain"]))
    if "registered" not in details:  # of a ledger that had no registrations yet
        return at
    return replace(
        at, registrations=int(details["registrations"]), registered=str(details["registered"])
    )


def check(ledger: Ledger, log: AuditLog, witness: Witness | None) -> str | None:
    """What has to be logged because a crash had cut it off: REBOOKED, GIVEN_UP or nothing.

    Raises StateError for anything else that does not fit.
    """
    seen = witness.read() if witness else None  # before the log, which others may go on writing
    with ledger.exclusively():
        log.refresh()
        if witness:
            _check_witness(log, witness, seen)
        should = expected(log)
        is_at = position(ledger)
        if is_at == should.at:
            return None
        if is_at == should.before and isinstance(should.last, Registration):
            return GIVEN_UP
        if is_at == should.before and isinstance(should.last, Booking):
            _insert(ledger, should.last)
            return REBOOKED
    behind = (is_at.number, is_at.registrations) < (should.at.number, should.at.registrations)
    older, newer = (ledger.path, log.path) if behind else (log.path, ledger.path)
    raise StateError(
        f"{older}: an older copy was put here: the ledger ends at {is_at}, the audit log knows of "
        f"{should.at}, and {newer.name} is right. {ADVICE}"
    )


def _insert(ledger: Ledger, booking: Booking) -> None:
    at = position(ledger)
    if booking.number != at.number + 1 or booking != booking.after(at.chain):
        raise AuditError(f"booking {booking.number} of the audit log does not follow the ledger")
    ledger.insert(booking)


@dataclass(frozen=True)
class Recovery:
    """How many bookings were made from the log, whether the log is known to be the newest, because a
    witness says so and the ledger fits it, and how many registrations the ledger lacks for good."""

    booked: int
    newest: bool
    lost: int


def recover(ledger: Ledger, log: AuditLog, witness: Witness | None) -> Recovery:
    """Brings the ledger to where the log is, if it can. The log has no fingerprints, so registrations
    that the ledger lacks cannot be made from it.
    """
    seen = witness.read() if witness else None
    with ledger.exclusively():
        log.refresh()
        try:
            if witness:
                _check_witness(log, witness, seen)
            newest = witness is not None
        except StateError:
            newest = False
        missing = _announced_after(log, position(ledger))
        for booking in missing:
            ledger.insert(booking)
        is_at, should = position(ledger), expected(log).at
        fits = (is_at.number, is_at.chain) == (should.number, should.chain)
        lost = should.registrations - is_at.registrations
        return Recovery(len(missing), newest and fits, max(0, lost))


def _announced_after(log: AuditLog, at: Position) -> list[Booking]:
    """The bookings that the log announced and the ledger lacks, as far as they follow its last one."""
    found: list[Booking] = []
    number, chain = at.number, at.chain
    for entry in log.entries:
        if entry.event == RESERVED:
            booking = announced(entry)
            if booking.number == number + 1 and booking == booking.after(chain):
                found.append(booking)
                number, chain = booking.number, booking.chain
    return found


def _check_witness(log: AuditLog, witness: Witness, seen: Head | None) -> None:
    if seen is None:
        if any(entry.event == WITNESSED for entry in log.entries):
            raise StateError(f"{witness.path}: the witness is gone. {ADVICE}")
        return
    try:
        check_heads(log.entries, [seen], log.path)
    except AuditError as error:
        raise StateError(f"{error} ({witness.path}). {ADVICE}") from error
