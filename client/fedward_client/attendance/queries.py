"""What the people of an active party ask about, until a prediction has answered it.

STATE/vertical/CHARTER/queries/NAME    waits for a session
STATE/vertical/CHARTER/SESSION/NAME    the copy that a session has taken; its scores are in result.json

A query is named by its bytes. The same file asked about again has its answer at once, and costs nobody
anything: an answer that has been given is worth as much the second time, and another one would say more.
"""

from pathlib import Path

from fedward_client.attendance.outcomes import COMPLETION_FILE, RESULT_FILE, Kept
from fedward_shared import canonical
from fedward_shared.errors import DataError, StateError
from fedward_shared.files import write_atomically

FOLDER = "queries"
PREFIX = "query-"
MAX_BYTES = 32 * 2**20


class Queries:
    """Of one charter, below the folder `state`."""

    def __init__(self, state: Path, charter: str) -> None:
        self._state, self._charter = state, charter
        self._folder = Kept(state, charter, FOLDER).folder

    def put(self, data: bytes, suffix: str) -> str:
        """Has the query wait, unless it is answered; its name. Raises DataError for one that is too
        long, StateError."""
        if len(data) > MAX_BYTES:
            raise DataError(f"a query of {len(data)} bytes, at most {MAX_BYTES} can be asked about")
        name = PREFIX + canonical.digest(data).removeprefix(canonical.DIGEST_PREFIX) + suffix
        if self.answer(name) is None and not (self._folder / name).is_file():
            _write(self._folder / name, data)
        return name

    def withdraw(self, name: str) -> None:
        """No session takes it any more."""
        (self._folder / name).unlink(missing_ok=True)

    def taken(self, session: str) -> Path:
        """The query of that session: what it has taken before, or the one that waits longest.

        Raises DataError where nobody asks anything.
        """
        folder = Kept(self._state, self._charter, session).folder
        for path in folder.glob(f"{PREFIX}*"):
            return path
        waiting = sorted(self._folder.glob(f"{PREFIX}*"), key=lambda path: path.stat().st_mtime_ns)
        if not waiting:
            raise DataError(
                "nobody here asks for a prediction: `fedward vertical predict` does, and is waited for"
            )
        _write(folder / waiting[0].name, waiting[0].read_bytes())
        return folder / waiting[0].name

    def answer(self, name: str) -> bytes | None:
        """The result of a session that has answered it: canonical JSON."""
        for path in sorted(self._folder.parent.glob(f"*/{name}")):
            if (path.parent / COMPLETION_FILE).is_file():
                return (path.parent / RESULT_FILE).read_bytes()
        return None

    def under_way(self, name: str) -> bool:
        """Whether a session has taken it."""
        return any(path.parent != self._folder for path in self._folder.parent.glob(f"*/{name}"))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, data, mode=0o600)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror}") from error
