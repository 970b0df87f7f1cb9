"""A vertical study on the coordinator's disk: charter, settings, and its sessions.

    STUDY/charter.json          what the parties approve
    STUDY/coordinator.key       the key that signs charter and requests
    STUDY/study.toml            where that key lies, and how long is waited
    STUDY/sessions/0001.json    a session: its id, its deadline, who has done its part
    STUDY/outcome.json          how the study ended

The last session counts. Its id is drawn once: by it the parties know what they have booked and done, so
that going on with it costs them nothing, whatever it was that stopped it. Another session costs every
party its ε again, so one is drawn for people who ask for that and never instead of one that is damaged.
"""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fedward_server.exchange.sessions import Sessions
from fedward_server.studies import StudySettings, keep, read_settings
from fedward_shared import canonical
from fedward_shared.assurances import Completion
from fedward_shared.errors import CharterError, StateError, StatementError
from fedward_shared.terms import Digest, Hexadecimal, Name, describe
from fedward_shared.vertical import charter as charters
from fedward_shared.vertical.charter import VerticalCharter

FOLDER = "sessions"
ID_BYTES = 32


class SessionRecord(BaseModel):
    """What is known of a session."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    charter: Digest
    session: Hexadecimal
    deadline: AwareDatetime | None = None
    """When its time is over; None until it is opened."""
    completions: dict[Name, str] = {}
    """Party → the completion that it has signed, in the order in which they came."""
    failures: dict[Name, str] = {}
    """Party → why the session could not go on with it, when it was last tried."""
    postponed: tuple[Name, ...] = ()
    """Parties that have said `later`."""
    checksum: str = ""
    """Digest of all other fields, as `computed` gives it."""

    @property
    def computed(self) -> str:
        """What `checksum` has to be."""
        content = self.model_dump(mode="json", exclude={"checksum"})
        return canonical.digest(json.dumps(content).encode())


class VerticalStudy:
    """The study in `folder`. Raises CharterError, StatementError or UsageError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.charter: VerticalCharter = charters.load(folder)
        self.settings = read_settings(folder, StudySettings)
        self.session: SessionRecord | None = None
        self.completions: dict[str, Completion] = {}
        """What the parties that have done their part of the session have signed."""
        self._number = 0

    def read(self) -> None:
        """Takes the state of the last session, if there is one.

        Raises StateError for one that is missing, damaged or of another charter.
        """
        numbers = sorted(int(path.stem) for path in (self.folder / FOLDER).glob("[0-9]*.json"))
        if numbers != list(range(1, len(numbers) + 1)):
            raise StateError(f"{self.folder / FOLDER}: of {numbers[-1]} sessions one is missing")
        self._number = len(numbers)
        self.session = self._read() if numbers else None
        self.completions = self._checked(self.session) if self.session else {}

    def _read(self) -> SessionRecord:
        try:
            found = SessionRecord.model_validate_json(self._path.read_bytes())
        except ValidationError as error:
            raise StateError(f"{self._path}: the session is damaged: {describe(error)}") from error
        except OSError as error:
            raise StateError(f"{self._path}: cannot be read: {error.strerror}") from error
        if found.checksum != found.computed:
            raise StateError(f"{self._path}: the session is damaged: its checksum is another one")
        if found.charter != self.charter.digest:
            raise StateError(f"{self._path}: it belongs to another charter, {found.charter}")
        return found

    def _checked(self, record: SessionRecord) -> dict[str, Completion]:
        try:
            return {
                site: completed(text.encode(), self.charter, record.session, site, str(self._path))
                for site, text in record.completions.items()
            }
        except (StatementError, CharterError) as error:
            raise StateError(f"{self._path}: the session is damaged: {error}") from error

    @property
    def begun(self) -> bool:
        """Whether there is a session; `read` has to be called before."""
        return self.session is not None

    @property
    def outstanding(self) -> list[str]:
        """The parties that have not done their part."""
        names = [participant.name for participant in self.charter.participants]
        return [name for name in names if name not in self.completions]

    @property
    def progress(self) -> str:
        """How far it is, in words."""
        return f"{len(self.completions)} of {len(self.charter.participants)} parties are done"

    @property
    def account(self) -> list[str]:
        """What became of the last session so far, in lines for people."""
        record = self.session
        if record is None:
            return []
        said = [f"  session {self._number}, {record.session[:16]}{_until(record.deadline)}"]
        for site, done in self.completions.items():
            said.append(f"    {site}: done; its ledger says ε = {done.epsilon}, δ = {done.delta}")
        said += [f"    {site}: {reason}" for site, reason in record.failures.items()]
        left = [_late(site, record) for site in self.outstanding if site not in record.failures]
        if left:
            said.append(
                f"    {'not done' if record.failures else 'waiting for'}: {', '.join(left)}"
            )
        return said

    def begin(self, now: datetime) -> SessionRecord:
        """The session to conduct: the last one, or the first. Raises StateError.

        It is on disk before anybody hears of it.
        """
        self.read()
        record = self.session or self._drawn()
        deadline = record.deadline or now + timedelta(
            seconds=self.charter.exchange.deadline_seconds
        )
        changes = {"deadline": deadline, "failures": {}, "postponed": ()}
        return self._keep(max(1, self._number), record.model_copy(update=changes))

    def start_over(self) -> None:
        """Ends the last session for good and draws another one. Raises StateError or UsageError."""
        self.let_go()
        self._keep(self._number + 1, self._drawn())
        self.completions = {}

    def let_go(self) -> None:
        """Closes the last session, so that no party goes on with it. Raises StateError or UsageError."""
        self.read()
        if self.session is not None:
            Sessions.here().close(self.session.session)

    def note(
        self, signed: Mapping[str, bytes], failures: Mapping[str, str], postponed: Iterable[str]
    ) -> None:
        """Keeps how the session stands: completions as they were signed. Raises StateError."""
        assert self.session is not None
        changes = {
            "completions": {site: data.decode() for site, data in signed.items()},
            "failures": dict(failures),
            "postponed": tuple(sorted(postponed)),
        }
        record = self._keep(self._number, self.session.model_copy(update=changes))
        self.completions = self._checked(record)

    def _drawn(self) -> SessionRecord:
        return SessionRecord(charter=self.charter.digest, session=os.urandom(ID_BYTES).hex())

    def _keep(self, number: int, record: SessionRecord) -> SessionRecord:
        self._number = number
        self.session = record.model_copy(update={"checksum": record.computed})
        keep(self._path, self.session.model_dump_json(indent=2).encode())
        return self.session

    @property
    def _path(self) -> Path:
        return self.folder / FOLDER / f"{self._number:04d}.json"


def completed(
    data: bytes, charter: VerticalCharter, session: str, site: str, origin: str
) -> Completion:
    """What `site` has signed. Raises StatementError unless it is about this very session."""
    done = Completion.read_of(data, charter, site, origin)
    if done.session != session:
        raise StatementError(f"{origin}: {site} has completed another session")
    _ = done.spent
    return done


def _until(deadline: datetime | None) -> str:
    return f", until {deadline.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if deadline else ""


def _late(site: str, record: SessionRecord) -> str:
    return f"{site} (has said later)" if site in record.postponed else site
