"""Parties of a vertical study, as their coordinator hears of them over Flower's grid."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from conftest import COORDINATOR, key_of
from flwr.app import Context, Error, Message
from shared.vertical.test_charter import GOOD, parsed

from fedward_server.exchange.sessions import Sessions
from fedward_server.observer import Observer
from fedward_server.sessions.conducting import Conducting
from fedward_server.sessions.studies import SessionStudy
from fedward_server.studies import STUDY_FILE
from fedward_shared import sessions as charters
from fedward_shared.agreement import Agreement
from fedward_shared.assurances import Completion, Decision, Objection, Presence, SessionRequest
from fedward_shared.errors import RefusalCode
from fedward_shared.messages import (
    HELLO,
    Answer,
    Hello,
    Refusal,
    SessionCall,
    SessionDone,
    Welcome,
)
from fedward_shared.vertical import planning
from fedward_shared.vertical.charter import VerticalCharter
from fedward_simulations.federation import InProcessGrid

PARTIES = ("bank", "bureau", "telecom")
Act = Callable[["Party", SessionCall], Answer | None]
"""What a party does when it is called; None for a process that fails. Raises Silence."""


class Silence(Exception):
    """No answer comes; `gone`: how often the node is not listed then."""

    def __init__(self, gone: int = 0) -> None:
        super().__init__()
        self.gone = gone


def vertical_charter(
    patience: float = 600.0, deadline: float = 60.0, predictions: int = 0
) -> VerticalCharter:
    privacy = planning.once(8.0, 1e-5, predictions=predictions).model_dump(mode="json")
    return parsed(
        exchange={"patience_seconds": patience, "deadline_seconds": deadline},
        vertical={**GOOD["vertical"], "privacy": privacy, "predictions": predictions},
    )


def saved(folder: Path, charter: VerticalCharter) -> Path:
    """A study that has not begun."""
    charters.save(folder, charter, COORDINATOR)
    COORDINATOR.save(folder / "coordinator.key")
    (folder / STUDY_FILE).write_text("poll_seconds = 0.01\ngather_seconds = 0.3\n")
    return folder


def completion(charter: Agreement, site: str, session: str, signer: str = "") -> bytes:
    """That `site` is done, signed by itself or another."""
    done = Completion(
        charter=charter.digest,
        site=site,
        session=session,
        epsilon="2.5",
        delta="1e-05",
        head="0" * 64,
    )
    return done.signed(key_of(signer or site))


class Party:
    """One that does what `acts` say, call by call, and then its part; `sessions` it was called to."""

    def __init__(self, charter: VerticalCharter, name: str, *acts: Act) -> None:
        self.charter = charter
        self.name = name
        self.acts = list(acts)
        self.sessions: list[str] = []
        self.asked: list[SessionRequest] = []

    def __call__(self, message: Message, _: Context) -> Message:
        if message.metadata.message_type == HELLO:
            answer: Answer | None = self.welcome(Hello.from_record(message.content))
        else:
            call = SessionCall.from_record(message.content)
            key = self.charter.coordinator.public_key
            said = SessionRequest.read(call.request, self.charter.digest, key, "it", "call")
            self.sessions.append(said.session)
            self.asked.append(said)
            answer = self.acts.pop(0)(self, call) if self.acts else self.done()
        if answer is None:
            return Message(Error(code=0, reason="failed"), reply_to=message)
        return Message(answer.to_record(), reply_to=message)

    def welcome(self, hello: Hello) -> Answer:
        fields = {"charter": self.charter.digest, "site": self.name}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        decision = Decision.model_validate({**fields, "choice": "approve", "number": 1, "at": now})
        presence = Presence.model_validate({**fields, "challenge": hello.challenge})
        key = key_of(self.name)
        return Welcome(self.name, decision.signed(key), presence.signed(key))

    def done(self) -> Answer:
        return SessionDone(self.name, completion(self.charter, self.name, self.sessions[-1]))


class Unwilling(Party):
    """One that refuses when it is greeted."""

    def welcome(self, hello: Hello) -> Answer:
        objection = Objection(
            charter=self.charter.digest,
            site=self.name,
            answers=hello.challenge,
            code=RefusalCode.CHARTER,
        )
        return Refusal(self.name, RefusalCode.CHARTER, objection.signed(key_of(self.name)))


class PartiesGrid(InProcessGrid):
    """Flower's grid with these parties at its nodes, in their order."""

    def __init__(self, parties: Iterable[Party]) -> None:
        super().__init__(dict(enumerate(parties, start=1)))  # type: ignore[arg-type]
        self._gone: dict[int, int] = {}

    def get_node_ids(self) -> Iterable[int]:
        listed = [node for node in super().get_node_ids() if self._gone.get(node, 0) <= 0]
        self._gone = {node: left - 1 for node, left in self._gone.items()}
        return listed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        waiting = dict(self._waiting)
        wanted = set(message_ids)
        try:
            return super().pull_messages(wanted)
        except Silence as silence:
            taken = next(m for i, m in waiting.items() if i in wanted and i not in self._waiting)
            self._gone[taken.metadata.dst_node_id] = silence.gone
            return []


def conduct(folder: Path, parties: Iterable[Party], sessions: Sessions) -> SessionStudy:
    """The study after a run of its ServerApp."""
    study = SessionStudy(folder)
    Conducting(study, PartiesGrid(parties), Observer(), sessions).run()
    return study
