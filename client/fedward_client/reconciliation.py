"""Ledger, audit log and witness have to fit: one that was restored from an older copy is noticed.

The audit log gets every booking before the ledger commits it. So the ledger is where the log says, or
one booking behind after a crash, which is then booked from the log. Anything else is an older copy of
one of them. Older copies of both fit each other, and not the witness: a file at a place of the site's
choice that holds the log's head.

Nothing is mended but the crash. `recover` is for a person who has decided; unless a witness confirms
that the log is the newest, what was spent is unknown from then on, and the accounts are closed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedward_client.ledger import START, Booking, Ledger
from fedward_shared import canonical
from fedward_shared.audit import AuditLog, Entry, Head, check_heads
from fedward_shared.errors import AuditError, StateError
from fedward_shared.files import write_atomically

RESERVED = "reserved"
RECOVERED = "recovered"
WITNESSED = "witnessed"

ADVICE = (
    "Restore the newest copies of ledger and audit log from a backup. If there are none, the "
    "data-protection officer decides; `fedward site recover` then charges the worst case"
)


@dataclass(frozen=True)
class Position:
    """How far a ledger goes: the number and the chain of its last booking."""

    number: int
    chain: str


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
    head = ledger.head
    return BEFORE_ALL if head is None else Position(head.number, head.chain)


def announced(entry: Entry) -> Booking:
    """The booking that an entry announces. Raises AuditError."""
    try:
        return Booking(**entry.details["booking"])
    except (KeyError, TypeError) as error:
        raise AuditError(f"entry {entry.number} of the audit log announces no booking") from error


def expected(log: AuditLog) -> tuple[Position, Booking | None]:
    """Where the ledger is by the log, and the booking that the log announced last since."""
    found: tuple[Position, Booking | None] = (BEFORE_ALL, None)
    for entry in log.entries:
        if entry.event == RESERVED:
            booking = announced(entry)
            found = (Position(booking.number, booking.chain), booking)
        elif entry.event == RECOVERED:
            details: dict[str, Any] = entry.details
            found = (Position(int(details["number"]), str(details["chain"])), None)
    return found


def check(ledger: Ledger, log: AuditLog, witness: Witness | None) -> bool:
    """Says whether a booking had been cut off by a crash, and now stands.

    Raises StateError for anything else that does not fit.
    """
    seen = witness.read() if witness else None  # before the log, which others may go on writing
    with ledger.exclusively():
        log.refresh()
        if witness:
            _check_witness(log, witness, seen)
        should, last = expected(log)
        is_at = position(ledger)
        if is_at == should:
            return False
        if last is not None and last.number == is_at.number + 1 and last == last.after(is_at.chain):
            ledger.insert(last)
            return True
    older, newer = (
        (ledger.path, log.path) if is_at.number < should.number else (log.path, ledger.path)
    )
    raise StateError(
        f"{older}: an older copy was put here: the ledger ends at booking {is_at.number}, the audit log "
        f"knows of {should.number}, and {newer.name} is right. {ADVICE}"
    )


def recover(ledger: Ledger, log: AuditLog, witness: Witness | None) -> tuple[int, bool]:
    """Brings the ledger to where the log is, if it can; how many bookings that took, and whether the
    log is known to be the newest, because a witness says so and the ledger fits it.
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
        return len(missing), newest and position(ledger) == expected(log)[0]


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
