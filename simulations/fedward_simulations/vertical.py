"""Vertical studies on one machine: the parties' programs, each with its file and its ledger."""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from fedward_client.ledger import Ledger, Limit
from fedward_client.training.streams import Streams
from fedward_client.vertical import party
from fedward_client.vertical.party import ALIGNMENT, ActiveOutcome
from fedward_client.vertical.records import PartyRecords
from fedward_shared import canonical
from fedward_shared.exchange.program import Program, Send, encode, together
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical.terms import VerticalTerms

LEDGER_FILE = "ledger.sqlite"
ACCOUNT = "records"


@dataclass(frozen=True)
class Outcome:
    """What a study came to. `epsilon`: of each party, by its ledger, infinite without DP. `sent`: bytes
    of each party, by kind of message."""

    active: ActiveOutcome
    epsilon: dict[str, float]
    sent: dict[str, Counter[str]]
    messages: int
    seconds: float

    @property
    def bytes(self) -> int:
        """Of all parties."""
        return sum(sum(kinds.values()) for kinds in self.sent.values())


def run(
    name: str,
    terms: VerticalTerms,
    records: Mapping[str, PartyRecords],
    folder: Path,
    seed: int,
) -> Outcome:
    """Runs the study `name` among the parties in `records`; their ledgers lie in `folder`.

    All studies of a seed align in one order, and so hold the same records out. Raises FedwardError as
    the parties' programs and ledgers do.
    """
    started = monotonic()
    session = canonical.digest(canonical.encode([seed, terms.alignment.model_dump(mode="json")]))
    sent = {one: Counter[str]() for one in records}
    messages = 0

    def passed(sender: str, action: Send) -> None:
        nonlocal messages
        messages += 1
        sent[sender][action.kind] += len(encode(action.kind, action.body))

    books = {one: _Books(folder / one / LEDGER_FILE, session, terms) for one in records}
    programs = {
        one: _program(terms, one, own, session, partial(_stream, seed, name, one))
        for one, own in records.items()
    }
    found: dict[str, Any] = together(programs, lambda one, event: books[one].book(event), passed)
    spent = {one: book.spent() for one, book in books.items()}
    return Outcome(found[terms.active], spent, sent, messages, monotonic() - started)


def _stream(seed: int, study: str, own: str, purpose: str) -> Randomness:
    """Each study draws for itself, but for the alignment."""
    return Randomness.from_seed(seed, "" if purpose == ALIGNMENT else study, own, purpose)


def _program(
    terms: VerticalTerms, name: str, own: PartyRecords, session: str, streams: Streams
) -> Program:
    if name == terms.active:
        return party.active(terms, own, session, streams)
    return party.passive(terms, name, own, session, streams)


class _Books:
    """A party's ledger, made anew for a study: each is a row of a table of its own."""

    def __init__(self, path: Path, session: str, terms: VerticalTerms) -> None:
        path.unlink(missing_ok=True)
        self._path, self._session = path, session
        privacy = terms.privacy
        epsilon, delta = (
            (float("inf"), 1e-5) if privacy is None else (privacy.epsilon, privacy.delta)
        )
        self._account = Limit(ACCOUNT, "the simulation", epsilon, delta)
        self._study = Limit(session, "the study", epsilon, delta)
        self._events = 0

    def book(self, event: Event) -> None:
        self._events += 1
        with closing(Ledger(self._path)) as ledger:
            request = f"{self._session} {self._events}"
            ledger.reserve(self._account, self._study, self._events, request, event)

    def spent(self) -> float:
        with closing(Ledger(self._path)) as ledger:
            return ledger.spending(ACCOUNT).epsilon
