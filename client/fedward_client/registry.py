"""Which records belong to which account: the registrations of datasets, in the ledger's database.

A registration keeps a keyed fingerprint of every record that the file had, in the account that the
dataset had then, for good: a later file that shares one of them belongs to the same account.
Registrations are chained as bookings are, and the audit log has each before it is committed.
"""

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from fedward_shared import canonical
from fedward_shared.errors import StateError

SCHEMA = """
CREATE TABLE registrations (
    number INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL,
    account TEXT NOT NULL,
    file TEXT NOT NULL,
    fields TEXT NOT NULL,
    records INTEGER NOT NULL,
    fingerprints TEXT NOT NULL,
    at TEXT NOT NULL,
    chain TEXT NOT NULL
) STRICT;
CREATE TABLE fingerprints (
    fingerprint BLOB PRIMARY KEY,
    registration INTEGER NOT NULL REFERENCES registrations (number)
) STRICT, WITHOUT ROWID;
"""
SELECT = (
    "SELECT number, dataset, account, file, fields, records, fingerprints, at, chain"
    " FROM registrations"
)
START = canonical.digest(b"")
"""The chain before the first registration."""


@dataclass(frozen=True)
class Registration:
    """A version of a dataset: its file's digest, how many records it has and from which columns their
    fingerprints are.

    `fingerprints` is the digest of those that no registration before it had. `chain` is the digest of
    all this and of the chain before it.
    """

    number: int
    dataset: str
    account: str
    file: str
    fields: str
    records: int
    fingerprints: str
    at: str
    chain: str = ""

    def after(self, chain: str) -> "Registration":
        """This registration as the one that follows `chain`."""
        content = {"before": chain, **asdict(replace(self, chain=""))}
        return replace(self, chain=canonical.digest(canonical.encode(content)))

    def as_json(self) -> dict[str, Any]:
        """As the audit log has it."""
        return asdict(self)

    @property
    def content(self) -> tuple[str, str, str]:
        """What was registered: the same again is no other registration."""
        return self.account, self.file, self.fields


class Registry:
    """The registrations in the database `db`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def all(self) -> Iterator[Registration]:
        """The first one first."""
        for row in self._db.execute(f"{SELECT} ORDER BY number"):
            yield Registration(*row)

    @property
    def last(self) -> Registration | None:
        """The last one."""
        row = self._db.execute(f"{SELECT} ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else Registration(*row)

    def of(self, dataset: str) -> Registration | None:
        """The last one of the dataset called so."""
        row = self._db.execute(
            f"{SELECT} WHERE dataset = ? ORDER BY number DESC LIMIT 1",
            (dataset,),
        ).fetchone()
        return None if row is None else Registration(*row)

    def accounts_of(self, fingerprints: Collection[bytes]) -> dict[bytes, str]:
        """Those of `fingerprints` that are known, each with the account that it belongs to."""
        self._db.execute("CREATE TEMP TABLE asked (fingerprint BLOB PRIMARY KEY) WITHOUT ROWID")
        try:
            self._db.executemany("INSERT INTO asked VALUES (?)", ((f,) for f in fingerprints))
            return dict(
                self._db.execute(
                    "SELECT fingerprint, account FROM asked JOIN fingerprints USING (fingerprint)"
                    " JOIN registrations ON registrations.number = registration"
                )
            )
        finally:
            self._db.execute("DROP TABLE asked")

    def insert(self, registration: Registration, new: Collection[bytes]) -> None:
        """Takes in one that follows the last, with its `new` fingerprints in order."""
        self._db.execute(
            "INSERT INTO registrations VALUES (:number, :dataset, :account, :file, :fields, :records,"
            " :fingerprints, :at, :chain)",
            registration.as_json(),
        )
        self._db.executemany(
            "INSERT INTO fingerprints VALUES (?, ?)", ((f, registration.number) for f in new)
        )

    def check_chain(self, origin: object) -> None:
        """Raises StateError for a registration that is not what was registered."""
        chain = START
        for number, one in enumerate(self.all(), 1):
            if one.number != number or one.after(chain) != one:
                raise StateError(
                    f"{origin}: registration {one.number} is not what was registered: the ledger was "
                    "changed by something else than fedward"
                )
            chain = one.chain

    def check_fingerprints(self, origin: object) -> None:
        """Raises StateError if fingerprints are gone, or are others. Reads all of them."""
        for one in self.all():
            found = self._db.execute(
                "SELECT fingerprint FROM fingerprints WHERE registration = ? ORDER BY fingerprint",
                (one.number,),
            )
            if digest([row[0] for row in found]) != one.fingerprints:
                raise StateError(
                    f"{origin}: the fingerprints of registration {one.number} are not what was "
                    "registered: the ledger was changed by something else than fedward"
                )


def digest(fingerprints: Collection[bytes]) -> str:
    """Of fingerprints in order."""
    return canonical.digest(b"".join(fingerprints))
