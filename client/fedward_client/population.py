"""One account for each source population, whatever its file is called.

A dataset is registered before it is trained on: its file is read once, and the ledger keeps a keyed
fingerprint of every record. A file that shares a record with another account's is refused, so that data
that were renamed, filtered or prepared anew go on spending the account that they came from. What two
records have in common may be their text, up to letter case and white space, their owner, or what they
are aligned by.

The key of the fingerprints stays at the site: without it they say nothing about a record, not even to
somebody who can guess it.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fedward_client import registry
from fedward_client.ledger import Ledger
from fedward_client.registry import Registration
from fedward_client.settings import DatasetSettings
from fedward_shared import canonical, records
from fedward_shared.errors import DataError

FINGERPRINT_BYTES = 16
CONTENTS = (("text",), ("prompt", "completion"))
"""The roles that make up the content of a record; a label alone would say nothing about whose it is."""


@dataclass(frozen=True)
class Fingerprinted:
    """A file: its digest, and the fingerprints of each record."""

    file: str
    records: list[tuple[bytes, ...]]


def register(
    ledger: Ledger,
    key: bytes,
    name: str,
    dataset: DatasetSettings,
    announce: Callable[[Registration], None],
) -> tuple[Registration, bool]:
    """The registration of the dataset `name` as its file is now, and whether it is a new one.

    `key` is the secret of the fingerprints. `announce` is told before the ledger commits; if it raises,
    nothing is registered. Raises DataError for a file that cannot be used, or that shares records with
    another account.
    """
    last = ledger.registry.of(name)
    if last is not None and last.content == _content(dataset, file_digest(dataset.path)):
        return last, False
    read = fingerprint(key, name, dataset)
    with ledger.exclusively():
        ledger.registry.check_fingerprints(ledger.path)
        known = ledger.registry.accounts_of({f for record in read.records for f in record})
        _check_overlap(name, dataset, read, known)
        new = sorted({f for record in read.records for f in record} - known.keys())
        before = ledger.registry.last
        made = Registration(
            number=before.number + 1 if before else 1,
            dataset=name,
            account=dataset.account,
            file=read.file,
            fields=_fields(dataset),
            records=len(read.records),
            fingerprints=registry.digest(new),
            at=ledger.at(),
        ).after(before.chain if before else registry.START)
        ledger.registry.insert(made, new)
        announce(made)
    return made, True


def check_registered(ledger: Ledger, name: str, dataset: DatasetSettings) -> str:
    """The digest that the file of the dataset `name` has to have when it is read.

    Raises DataError unless it is registered just as it is now; opens it, but understands none of it.
    """
    advice = f"run `fedward site register {name}`"
    known = ledger.registry.of(name)
    if known is None:
        raise DataError(f"{dataset.path}: datasets.{name} was never registered; {advice}")
    if known.account != dataset.account:
        raise DataError(
            f'{dataset.path}: datasets.{name} was registered with account = "{known.account}"; '
            f'site.toml now says "{dataset.account}"; {advice}'
        )
    if known.file != file_digest(dataset.path) or known.fields != _fields(dataset):
        raise DataError(f"{dataset.path}: changed since it was registered; {advice}")
    return known.file


def fingerprint(key: bytes, name: str, dataset: DatasetSettings) -> Fingerprinted:
    """Reads the file. Raises DataError for one that has neither text nor says whose it is."""
    path = dataset.path
    content = records.read_bytes(path)
    table = records.table(path, content)
    columns = {r: dataset.columns.get(r, r) for group in CONTENTS for r in group}
    groups: list[tuple[str, ...]] = [
        group for group in CONTENTS if all(columns[r] in table.columns for r in group)
    ]
    if dataset.owner is not None:
        columns["owner"] = dataset.owner
        groups.append(("owner",))
    if dataset.alignment is not None:
        parts = {f"identifier {n}": c for n, c in enumerate(dataset.alignment.identifier)}
        columns |= parts
        groups.append(tuple(parts))
    if not groups:
        raise DataError(
            f"{path}: no column for text, or for prompt and completion, or for whose they are: name it "
            f"under datasets.{name}; it has {', '.join(table.columns)}"
        )
    made = [
        _fingerprints(key, group, [records.texts(path, table, columns[r], r) for r in group])
        for group in groups
    ]
    each = [tuple(f for f in found if f is not None) for found in zip(*made, strict=True)]
    return Fingerprinted(canonical.digest(content), each)


def file_digest(path: Path) -> str:
    """SHA-256 of the file, read piece by piece; known again while nothing about the file has changed.

    Raises DataError for a file that cannot be read.
    """
    try:
        state = _state(path)
        found = _digest_of_state(path, state)
        if _state(path) != state:
            raise DataError(f"{path}: it was written to while it was read; try again")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return found


@lru_cache(maxsize=64)
def _digest_of_state(path: Path, _state: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return canonical.DIGEST_PREFIX + hashlib.file_digest(file, "sha256").hexdigest()


def _state(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _content(dataset: DatasetSettings, file: str) -> tuple[str, str, str]:
    return dataset.account, file, _fields(dataset)


def _fields(dataset: DatasetSettings) -> str:
    """From which columns the fingerprints are, or would be."""
    roles = {role for group in CONTENTS for role in group}
    named = {role: column for role, column in dataset.columns.items() if role in roles}
    found: dict[str, object] = {"columns": named, "owner": dataset.owner}
    if dataset.alignment is not None:
        found["identifier"] = list(dataset.alignment.identifier)
    return canonical.encode(found).decode()


def _fingerprints(
    key: bytes, roles: tuple[str, ...], columns: Iterable[Iterable[str]]
) -> list[bytes | None]:
    """One for each record; None for one with nothing in it, which would be alike everywhere."""
    kind = "\n".join(roles).encode() + b"\0"
    found: list[bytes | None] = []
    for values in zip(*columns, strict=True):
        parts = [records.normalised(value) for value in values]
        text = "\n".join(parts).encode()
        blank = not any(parts)
        found.append(None if blank else hmac.digest(key, kind + text, "sha256")[:FINGERPRINT_BYTES])
    return found


def _check_overlap(
    name: str, dataset: DatasetSettings, read: Fingerprinted, known: dict[bytes, str]
) -> None:
    shared: Counter[str] = Counter()
    for record in read.records:
        shared.update({known[f] for f in record if f in known})
    others = sorted(shared.keys() - {dataset.account})
    if not others:
        return
    counts = ", ".join(f"{shared[other]} with the account {other}" for other in others)
    advice = (
        f'write account = "{others[0]}" under [datasets.{name}] in site.toml'
        if len(shared) == 1
        else f"but no account covers all of {', '.join(sorted(shared))}: keep the records of one"
    )
    raise DataError(
        f"{dataset.path}: of {len(read.records)} records it shares {counts}, while datasets.{name} has "
        f'account = "{dataset.account}". The same people have one budget: {advice}'
    )
