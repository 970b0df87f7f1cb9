"""What the people of an active party ask about (`asking.py`), until a prediction has answered it.

STATE/vertical/CHARTER/queries/NAME    waits for a session
STATE/vertical/CHARTER/SESSION/NAME    the copy that a session has taken; its scores are in result.json

A query is named by its bytes. The same file asked about again has its answer at once, and costs nobody
anything: an answer that has been given is worth as much the second time, and another one would say more.
"""

from pathlib import Path

from fedward_client.attendance.outcomes import Kept
from fedward_shared.errors import DataError, StateError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.files import write_atomically

FOLDER = "queries"
PREFIX = "query-"


class Queries:
    """Of one charter, below the folder `state`; they wait in `folder`."""

    def __init__(self, state: Path, charter: SessionCharter) -> None:
        self.folder = Kept(state, charter, FOLDER).folder

    def taken(self, session: str) -> Path:
        """The query of that session: what it has taken before, or the one that waits longest.

        Raises DataError where nobody asks anything.
        """
        for path in (self.folder.parent / session).glob(f"{PREFIX}*"):
            return path
        waiting = sorted(self.folder.glob(f"{PREFIX}*"), key=lambda path: path.stat().st_mtime_ns)
        if not waiting:
            raise DataError(
                "nobody here asks for a prediction: `fedward vertical predict` does, and is waited for"
            )
        copy = self.folder.parent / session / waiting[0].name
        write(copy, waiting[0].read_bytes())
        return copy

    def withdraw(self, name: str) -> None:
        """No session takes it any more."""
        (self.folder / name).unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Keeps a query, for the owner alone. Raises StateError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, data, mode=0o600)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror}") from error
