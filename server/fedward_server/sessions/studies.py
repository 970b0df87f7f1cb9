"""A study with sessions on the coordinator's disk: charter, settings, and its sessions.

    STUDY/charter.json          what the parties approve
    STUDY/coordinator.key       the key that signs charter and requests
    STUDY/study.toml            where that key lies, and how long is waited
    STUDY/sessions/0001.json    a session: its id, what it is for, its deadline, who has done its part
    STUDY/outcome.json          how the study ended

The last session counts; of a vertical study, predictions follow the one in which the model was fitted.
A session's id is drawn once: by it the parties know what they have booked and done, so that going on
with it costs them nothing, whatever it was that stopped it. Another session is booked by every party
anew, so one is drawn for people who ask for that and never instead of one that is damaged.
"""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fedward_server.exchange.sessions import Sessions
from fedward_server.studies import StudySettings, keep, read_settings
from fedward_shared import canonical, sessions
from fedward_shared.assurances import Completion, Purpose
from fedward_shared.errors import CharterError, StateError, StatementError, UsageError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.terms import Digest, Hexadecimal, Name, describe
from fedward_shared.vertical.charter import VerticalCharter

FOLDER = "sessions"
ID_BYTES = 32


class SessionRecord(BaseModel):
    """What is known of a session."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    charter: Digest
    session: Hexadecimal
    purpose: Purpose = "fit"
    model: Hexadecimal | None = None
    """Of a prediction, the session in which the model was fitted."""
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

    def done(self, charter: SessionCharter) -> bool:
        """Whether all parties have done their part."""
        return len(self.completions) == len(charter.participants)


class SessionStudy:
    """The study in `folder`. Raises CharterError, StatementError or UsageError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.charter = sessions.load(folder)
        self.settings = read_settings(folder, StudySettings)
        self.sessions: list[SessionRecord] = []
        self.completions: dict[str, Completion] = {}
        """What the parties that have done their part of the last session have signed."""

    @property
    def session(self) -> SessionRecord | None:
        """The last one, if there is one; `read` has to be called before."""
        return self.sessions[-1] if self.sessions else None

    def read(self) -> None:
        """Takes the state of all sessions.

        Raises StateError for one that is missing, damaged or of another charter.
        """
        numbers = sorted(int(path.stem) for path in (self.folder / FOLDER).glob("[0-9]*.json"))
        if numbers != list(range(1, len(numbers) + 1)):
            raise StateError(f"{self.folder / FOLDER}: of {numbers[-1]} sessions one is missing")
        self.sessions = [self._read(self._path(number)) for number in numbers]
        self.completions = self._checked(self.session) if self.session else {}

    def _read(self, path: Path) -> SessionRecord:
        try:
            found = SessionRecord.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise StateError(f"{path}: the session is damaged: {describe(error)}") from error
        except OSError as error:
            raise StateError(f"{path}: cannot be read: {error.strerror}") from error
        if found.checksum != found.computed:
            raise StateError(f"{path}: the session is damaged: its checksum is another one")
        if found.charter != self.charter.digest:
            raise StateError(f"{path}: it belongs to another charter, {found.charter}")
        return found

    def _checked(self, record: SessionRecord) -> dict[str, Completion]:
        path = self._path(len(self.sessions))
        try:
            return {
                site: completed(text.encode(), self.charter, record.session, site, str(path))
                for site, text in record.completions.items()
            }
        except (StatementError, CharterError) as error:
            raise StateError(f"{path}: the session is damaged: {error}") from error

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
        what = ", a prediction" if record.purpose == "predict" else ""
        said = [
            f"  session {len(self.sessions)}{what}, {record.session[:16]}{_until(record.deadline)}"
        ]
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
        record = self.session or self._draw(self.charter.PURPOSES[0], None)
        deadline = record.deadline or now + timedelta(
            seconds=self.charter.exchange.deadline_seconds
        )
        changes = {"deadline": deadline, "failures": {}, "postponed": ()}
        return self._keep(record.model_copy(update=changes))

    def start_over(self) -> None:
        """Ends the last session for good and draws another one for the same. Raises StateError or
        UsageError."""
        self.let_go()
        last = self.session
        first = self.charter.PURPOSES[0]
        self._draw(*((first, None) if last is None else (last.purpose, last.model)))

    def predict(self) -> None:
        """Draws a session for a prediction, unless the last one is for one that is not done.

        Raises UsageError for a study without models, before one is fitted, and where the charter has no
        prediction left.
        """
        self.read()
        if not isinstance(self.charter, VerticalCharter):
            raise UsageError(f"{self.folder}: this study fits no model that could be asked")
        asked = [one for one in self.sessions if one.purpose == "predict"]
        if asked and not asked[-1].done(self.charter):
            return
        fitted = [one for one in self.sessions if one.purpose == "fit"]
        if not fitted or not fitted[-1].done(self.charter):
            raise UsageError(
                f"{self.folder}: no model is fitted yet; `fedward study launch` or `resume` has it done"
            )
        allowed = self.charter.vertical.predictions
        done = sum(one.done(self.charter) for one in asked)
        if done >= allowed:
            raise UsageError(
                f"{self.folder}: vertical.predictions of the charter is {allowed}, and {done} are done; "
                "more of them need another charter, which all parties approve"
            )
        self._draw("predict", fitted[-1].session)

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
        record = self._keep(self.session.model_copy(update=changes))
        self.completions = self._checked(record)

    def _draw(self, purpose: Purpose, model: str | None) -> SessionRecord:
        session, charter = os.urandom(ID_BYTES).hex(), self.charter.digest
        record = SessionRecord(charter=charter, session=session, purpose=purpose, model=model)
        self.sessions.append(record)
        self.completions = {}
        return self._keep(record)

    def _keep(self, record: SessionRecord) -> SessionRecord:
        """In the place of the last one."""
        self.sessions[-1] = record.model_copy(update={"checksum": record.computed})
        data = self.sessions[-1].model_dump_json(indent=2).encode()
        keep(self._path(len(self.sessions)), data)
        return self.sessions[-1]

    def _path(self, number: int) -> Path:
        return self.folder / FOLDER / f"{number:04d}.json"


def completed(
    data: bytes, charter: SessionCharter, session: str, site: str, origin: str
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
