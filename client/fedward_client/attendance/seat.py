"""A site's seat in one session, for as long as a worker attends it."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from fedward_client import policy
from fedward_client.attendance import predictions
from fedward_client.attendance.counting import NEW, booked_before
from fedward_client.attendance.egress import Egress
from fedward_client.attendance.outcomes import Kept
from fedward_client.attendance.queries import Queries
from fedward_client.core import Outcome, SessionOffer
from fedward_client.exchange import journal as journals
from fedward_client.exchange.connection import Connection, Dial
from fedward_client.exchange.journal import Journal
from fedward_client.exchange.lines import SiteLine
from fedward_client.exchange.party import Seat
from fedward_client.objections import left_out
from fedward_client.reconciliation import RESERVED
from fedward_client.site import Site
from fedward_shared import canonical
from fedward_shared.assurances import Completion, Purpose, SessionRequest, epsilon_text
from fedward_shared.errors import PrivacyError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.messages import SessionDone
from fedward_shared.privacy.plan import Event

ONE_AT_A_TIME = threading.Lock()
"""Sessions book in turn: which of a charter's one is, is counted and then booked."""

Opening = Callable[[], AbstractContextManager[Site]]


@dataclass(frozen=True)
class Attended:
    """What a session is about, and as which request of it its bookings are known."""

    charter: SessionCharter
    session: str
    purpose: Purpose
    request: str
    gone: frozenset[str]
    """Peers that are done, and need not confirm anything any more."""


class AttendedSession:
    """The seat: `core.Attending` with the ledger, the egress and the journal behind it.

    `site` opens the site anew for each call that needs it, as the trusted side does everywhere.
    """

    def __init__(
        self,
        site: Opening,
        attended: Attended,
        offer: SessionOffer,
        journal: Journal,
        line: SiteLine,
    ) -> None:
        self.offer = offer
        self._site = site
        self._attended = attended
        self._journal = journal
        self._line = line
        self._egress = Egress(attended.charter, offer.site, attended.purpose)
        said, _, self._state = line.restored().partition(b"\n")
        if said:
            self._egress.resume(said)
        self._connection: Connection | None = None
        self._left: Callable[[], None] = lambda: None
        self._done = False

    def connect(self, dial: Dial, left: Callable[[], None]) -> None:
        """Goes to the exchange; returns at once. `left` is called when the seat is free again."""
        self._left = left
        self._connection = Connection(self._line, dial)
        self._connection.start()

    def send(self, peer: str, message: bytes) -> bytes:
        """As `Line` says; what may not leave raises ExchangeError or PrivacyError."""
        self._egress.check(peer, message)
        return self._line.send(peer, message)

    def receive(self, peer: str, timeout: float) -> bytes:
        """As `Line` says."""
        return self._line.receive(peer, timeout)

    def checkpoint(self, state: bytes) -> None:
        """As `Line` says. What has been said counts on in the run that goes on from there."""
        self._line.checkpoint(self._egress.kept() + b"\n" + state)

    def restored(self) -> bytes:
        """As `Line` says."""
        return self._state

    def book(self, number: int, event: Event) -> None:
        """Books the `number`-th event of the session, unless that was done before it was interrupted.

        Raises PrivacyError for another event than the charter's, BudgetExceeded, and what `permit` does.
        """
        charter, request, due = self._attended.charter, self._attended.request, self._egress.due
        if number != self._egress.booked + 1 or number > len(due) or event != due[number - 1]:
            raise PrivacyError(
                f"charter {charter.study}: booking {number} of the session is not the one that is due"
            )
        with ONE_AT_A_TIME, self._site() as site:
            permission = site.permit(charter)
            purpose = self._attended.purpose
            place = number + booked_before(site.ledger, charter, site.name, purpose, request)
            if site.ledger.booked(charter.digest, place, request) is None:
                site.ledger.reserve(
                    permission.account,
                    permission.study,
                    place,
                    request,
                    event,
                    lambda made: site.log(RESERVED, study=charter.study, booking=made.as_json()),
                )
        self._egress.booked = number

    def finish(self, outcome: Outcome) -> SessionDone:
        """Keeps what came of it, and signs that this site has done its part, once the peers have all.

        Raises ExchangeError if they do not take it, StateError if it cannot be kept.
        """
        charter, session = self._attended.charter, self._attended.session
        purpose = self._attended.purpose
        if self._egress.booked < len(self._egress.due):
            raise PrivacyError(
                f"charter {charter.study}: a session that has not booked all is not done"
            )
        self._line.finish(charter.exchange.patience_seconds, self._attended.gone)
        with self._site() as site:
            kept = Kept(site.settings.state, charter, session)
            kept.write(outcome, purpose)
            answered = {"answered": self._egress.answered} if purpose == "predict" else {}
            site.log(
                "session done",
                study=charter.study,
                charter=charter.digest,
                session=session,
                purpose=purpose,
                **answered,
                said={
                    f"{kind} to {peer}": size
                    for (peer, kind), size in sorted(self._egress.said.items())
                },
            )
            dataset = site.settings.datasets[charter.dataset]
            spending = site.ledger.spending(dataset.account)
            completion = Completion(
                charter=charter.digest,
                site=site.name,
                session=session,
                epsilon=epsilon_text(spending.epsilon),
                delta=repr(spending.delta),
                head=site.shown_head,
            ).signed(site.key)
            kept.complete(completion)
            if self.offer.query:
                Queries(site.settings.state, charter).withdraw(self.offer.data.name)
        self._done = True
        return SessionDone(self.offer.site, completion)

    def close(self) -> None:
        """Leaves the exchange; a session that is not done can be gone on with from the journal."""
        try:
            if self._connection is not None:
                self._connection.close()
            self._journal.close()
            if self._done:
                journals.remove(self._journal.path)
        finally:
            self._left()


def take(
    site: Site,
    opening: Opening,
    charter: SessionCharter,
    asked: SessionRequest,
    gone: frozenset[str],
) -> AttendedSession:
    """The seat of `site` in a session of `charter`, which is permitted; not connected yet.

    The parties that are `gone` are done with it.

    A session that was interrupted goes on where it was. Raises NotNow, DataError for a dataset that is
    not registered as it is or a prediction that nobody asks for, ModelError for one of a model that is
    not here, BudgetExceeded for one more than the charter has, and StateError for records that have
    changed since the session began.
    """
    dataset, session = site.settings.datasets[charter.dataset], asked.session
    compared = policy.compared(charter, dataset)
    objected = left_out(dataset)
    path = site.settings.state / journals.FOLDER
    journal = Journal(path, session, site.secrets.derive(journals.JOURNAL))
    try:
        new = journal.is_new
        file = site.admit(charter) if new else site.registered(charter)
        if new:
            booked_before(site.ledger, charter, site.name, asked.purpose, NEW)
        prediction = predictions.asked(site, charter, asked)
        terms = {
            "charter": charter.digest,
            "purpose": asked.purpose,
            "model": canonical.digest(prediction.model),
            "query": canonical.digest(prediction.query),
            "file": file,
            "identifier": list(compared),
            "left_out": "" if objected is None else objected.digest,
        }
        digest = canonical.digest(canonical.encode(terms))
        secret = journal.begin(digest)
        if new:
            site.log(
                "attended",
                study=charter.study,
                charter=charter.digest,
                session=session,
                purpose=asked.purpose,
                **charter.noted(site.name),
            )
        keys = {peer: charter.participant(peer).public_key for peer in charter.peers(site.name)}
        line = SiteLine(
            Seat(charter.digest, session, site.name, site.key, keys),
            journal,
            charter.exchange.patience_seconds,
        )
    except BaseException:
        journal.close()
        raise
    offer = SessionOffer(
        site=site.name,
        charter=charter,
        session=session,
        secret=secret,
        data=prediction.file or dataset.path,
        file=file,
        compared=compared,
        left_out=objected,
        base_models=tuple(policy.encoders(charter, site.settings)),
        threads=site.settings.threads,
        purpose=asked.purpose,
        model=prediction.model,
        query=prediction.query,
    )
    request = canonical.digest(
        canonical.encode({"session": session, "terms": digest, "secret": canonical.digest(secret)})
    )
    attended = Attended(charter, session, asked.purpose, request, gone)
    return AttendedSession(opening, attended, offer, journal, line)
