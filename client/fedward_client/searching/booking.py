"""What a search books in the site's ledger, and what it may.

The site is opened for each booking and closed again: a daemon may use ledger and audit log meanwhile,
and what people change meanwhile counts at once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from fedward_client.ledger import Limit, Spending, held
from fedward_client.reconciliation import RESERVED
from fedward_client.site import Site
from fedward_shared.charter import Charter
from fedward_shared.errors import BudgetExceeded, PrivacyError
from fedward_shared.privacy.plan import Event


@dataclass(frozen=True)
class Books:
    """Those of one search, which is booked as `study`, at most `epsilon`; `request` is its folder's."""

    opened: Callable[[], Site]
    charter: Charter
    study: str
    epsilon: float
    request: str

    @contextmanager
    def _site(self) -> Iterator[tuple[Site, Limit, Limit]]:
        """Raises CharterError, PrivacyError and others where the charter or a search is refused."""
        with closing(self.opened()) as site:
            if site.settings.approval.people:
                raise PrivacyError(
                    "site.toml: approval.people have to assent to what is done with the records, and "
                    "to a search nobody can; without that section one person decides"
                )
            site.charters.load(self.charter.digest)
            account = site.permit(self.charter).account
            yield site, account, Limit(self.study, "--epsilon", self.epsilon, account.delta)

    def check(self, events: Sequence[Event]) -> None:
        """Raises BudgetExceeded if these could not be booked."""
        with self._site() as (site, account, study):
            site.ledger.check(account, study, events, "this search")

    def fitting(self, event: Event, most: int) -> int:
        """How many times `event` can be booked, at most `most`."""

        def fits(times: int) -> bool:
            try:
                self.check([event] * times)
            except BudgetExceeded:
                return False
            return True

        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return low

    def book(self, number: int, event: Event) -> None:
        """Books trial `number`, or a whole selection, before anything is read.

        Raises BudgetExceeded, NotNow, or DataError for a dataset that is not as it was registered.
        """
        with self._site() as (site, account, study):
            site.ledger.check(account, study, [event], "this search")
            site.admit(self.charter)
            site.ledger.reserve(
                account,
                study,
                number,
                self.request,
                event,
                lambda made: site.log(
                    RESERVED,
                    study=f"search for {self.charter.study}",
                    charter=self.charter.digest,
                    booking=made.as_json(),
                ),
            )

    def booked(self, number: int) -> bool:
        """Whether that was booked for this folder."""
        with self._site() as (site, _, _):
            return site.ledger.booked(self.study, number, self.request) is not None

    def complete(self, number: int, answer: bytes) -> None:
        """Closes the booking with what came of it."""
        with self._site() as (site, _, _):
            found = site.ledger.booked(self.study, number, self.request)
            if found is not None:
                site.ledger.complete(found.number, b"", answer)

    def answer(self, number: int) -> bytes | None:
        """What came of it; None as long as nothing did."""
        with self._site() as (site, _, _):
            found = site.ledger.answer(self.study, number, self.request)
            return None if found is None else found[1]

    def file(self) -> str:
        """The digest of the dataset's file. Raises DataError unless it is registered as it is."""
        with self._site() as (site, _, _):
            return site.registered(self.charter)

    def after(self, events: Sequence[Event]) -> tuple[Spending, float, Limit]:
        """What the account has spent, what counts against its limit after `events`, and the limit."""
        with self._site() as (site, account, _):
            done = site.ledger.studies(account.name)
            done = {**done, self.study: [*done.get(self.study, []), *events]}
            spent = site.ledger.spending(account.name)
            return spent, held(done, account.delta), account
