"""The people whose records a site leaves out: a list that the site keeps, one owner a line."""

from collections.abc import Iterable
from pathlib import Path

from fedward_client.settings import DatasetSettings
from fedward_client.site import Site
from fedward_shared import records
from fedward_shared.errors import DataError, UsageError
from fedward_shared.files import write_atomically
from fedward_shared.records import LeftOut

OBJECTED = "objected"


def left_out(dataset: DatasetSettings) -> LeftOut | None:
    """Whose records of the dataset are left out; None where the site keeps no list.

    Raises DataError for a list that is named and cannot be read: that is no empty list.
    """
    if dataset.objections is None or dataset.owner is None:
        return None
    return LeftOut.of(dataset.owner, read(dataset.objections))


def read(path: Path) -> list[str]:
    """The owners in the file `path`, as they stand there. Raises DataError."""
    try:
        lines = path.read_bytes().decode("utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: the list of objections cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the list of objections is not UTF-8") from error
    return [line.strip() for line in lines if line.strip()]


def add(site: Site, name: str, owners: Iterable[str]) -> int:
    """Puts `owners` on the list of the dataset `name`; how many of them were not on it.

    What was prepared of the records is removed, so that nothing of theirs stays. The audit log gets the
    counts alone. Raises UsageError or DataError.
    """
    path = _list_of(site, name)
    asked = [_checked(owner) for owner in owners]
    with site.ledger.exclusively():  # one writer at a time
        known = _known(site, name, path)
        new = [owner for owner in dict.fromkeys(asked) if owner not in known]
        text = "".join(f"{owner}\n" for owner in [*known, *new])
        write_atomically(path, text.encode(), mode=0o600)
        for prepared in site.settings.cache.glob("*.safetensors"):
            prepared.unlink()
        site.log(OBJECTED, dataset=name, added=len(new), listed=len(known) + len(new))
    return len(new)


def present(dataset: DatasetSettings, owners: Iterable[str]) -> int:
    """How many of `owners` have records in the dataset's file. Raises DataError."""
    if dataset.owner is None:
        return 0
    table = records.table(dataset.path, records.read_bytes(dataset.path))
    there = records.texts(dataset.path, table, dataset.owner, "owner")
    return len({records.normalised(o) for o in owners} & {records.normalised(o) for o in there})


def _list_of(site: Site, name: str) -> Path:
    dataset = site.settings.datasets.get(name)
    if dataset is None:
        raise UsageError(f"site.toml: datasets.{name}: there is none of that name")
    if dataset.objections is None:
        raise UsageError(
            f'site.toml: datasets.{name} names no list: write owner = "COLUMN" and objections = '
            f'"objections.txt" there'
        )
    return dataset.objections


def _checked(owner: str) -> str:
    if not owner.strip() or not owner.isprintable():
        raise UsageError(f"{owner!r} is no owner: it is empty, or more than a line")
    return owner.strip()


def _known(site: Site, name: str, path: Path) -> list[str]:
    """The list so far; a new one only where the log knows of none."""
    before = any(
        entry.event == OBJECTED and entry.details.get("dataset") == name
        for entry in site.audit.entries
    )
    return [] if not before and not path.exists() else read(path)
