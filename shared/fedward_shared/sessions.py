"""Charters of studies that have sessions, of whichever kind: read by what they say they are."""

from pathlib import Path

from fedward_shared import agreement
from fedward_shared.agreement import CHARTER_FILE
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import CharterError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.vertical.charter import VerticalCharter

CHARTERS: dict[str, type[SessionCharter]] = {
    kind.KIND: kind for kind in (VerticalCharter, DuplicatesCharter)
}
"""By what their signed statements are called."""


def has_sessions(folder: Path) -> bool:
    """Whether the charter in `folder` says that it is one. Raises CharterError if it cannot be read."""
    return agreement.kind(folder / CHARTER_FILE) in CHARTERS


def load(folder: Path) -> SessionCharter:
    """The signed charter in `folder`. Raises CharterError, also for one of another kind, or
    StatementError as `agreement.read` does."""
    path = folder / CHARTER_FILE
    kind = CHARTERS.get(agreement.kind(path))
    if kind is None:
        raise CharterError(f"{path}: it is no charter of a study with sessions")
    return agreement.read(path, kind)


def save(folder: Path, charter: SessionCharter, key: SigningKey) -> None:
    """Signs and writes the charter. Raises CharterError for another key than the coordinator's."""
    write_atomically(folder / CHARTER_FILE, charter.signed(key))
