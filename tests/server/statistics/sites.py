"""Sites that are asked for statistics, as their coordinator hears of them over Flower's grid."""

from collections.abc import Callable, Iterable
from pathlib import Path

from conftest import COORDINATOR, key_of
from flwr.app import Context, Error, Message
from server.sessions.parties import PartiesGrid, Party
from shared.statistics.made import SITES, charter, tally

from fedward_server.observer import Observer
from fedward_server.statistics.studies import StatisticsStudy
from fedward_server.statistics.survey import Survey
from fedward_server.studies import STUDY_FILE
from fedward_shared.assurances import Receipt
from fedward_shared.messages import (
    HELLO,
    RECEIPT,
    Answer,
    Counted,
    Hello,
    Noted,
    ReceiptNote,
    StatisticsCall,
)
from fedward_shared.statistics import charter as charters
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.tally import StatisticsRequest

CHARTER = charter(deadline_seconds="600.0")
Act = Callable[["Asked"], Answer | None]


class Asked(Party):
    """A site that does what `doing` say, call by call, and then answers; how often it was `called`,
    and which `receipts` it got."""

    def __init__(self, name: str, *doing: Act) -> None:
        super().__init__(CHARTER, name)  # type: ignore[arg-type]  # only who it is about is asked
        self.doing = list(doing)
        self.called = 0
        self.receipts: list[Receipt] = []

    def __call__(self, message: Message, _: Context) -> Message:
        if message.metadata.message_type == HELLO:
            answer: Answer | None = self.welcome(Hello.from_record(message.content))
        elif message.metadata.message_type == RECEIPT:
            answer = self.noted(ReceiptNote.from_record(message.content))
        else:
            call = StatisticsCall.from_record(message.content)
            StatisticsRequest.read(call.request, CHARTER.digest, COORDINATOR.public, "it", "call")
            self.called += 1
            answer = self.doing.pop(0)(self) if self.doing else self.counted()
        if answer is None:
            return Message(Error(code=0, reason="failed"), reply_to=message)
        return Message(answer.to_record(), reply_to=message)

    def noted(self, note: ReceiptNote) -> Answer:
        key, name = COORDINATOR.public, self.name
        said = Receipt.read(note.receipt, CHARTER.digest, key, "it", "receipt").by(name, "receipt")
        self.receipts.append(said)
        return Noted(name)

    def counted(self, signer: str = "") -> Answer:
        numbers = [100 * (n + 1) for n in range(Layout(CHARTER.statistics).size)]
        said = tally(CHARTER, self.name, numbers)
        return Counted(self.name, said.signed(key_of(signer or self.name)))


def saved(folder: Path) -> Path:
    """A study that has not begun."""
    charters.save(folder, CHARTER, COORDINATOR)
    COORDINATOR.save(folder / "coordinator.key")
    (folder / STUDY_FILE).write_text("poll_seconds = 0.01\ngather_seconds = 60.0\n")
    return folder


def three(*doing: Act) -> list[Asked]:
    """Of which the first one does that."""
    return [Asked(name, *(doing if name == SITES[0] else ())) for name in SITES]


def survey(folder: Path, sites: Iterable[Party]) -> StatisticsStudy:
    """The study after a run of its ServerApp."""
    study = StatisticsStudy(folder)
    Survey(study, PartiesGrid(sites), Observer()).run()
    return study
