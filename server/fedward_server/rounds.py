"""A round as a state machine without I/O: who was asked, who answered, who did not and why.

The shell around it sends what `Round` lists as asked and hands it every answer; the clock is an
argument. An update is folded the moment it is offered, and once only.
"""

from dataclasses import dataclass, field

from fedward_server.collecting import Collector
from fedward_server.layout import Layout
from fedward_shared import canonical
from fedward_shared.assurances import Delivery
from fedward_shared.charter import Charter
from fedward_shared.errors import AdapterError, RefusalCode, StatementError
from fedward_shared.messages import Answer, Refusal, Update
from fedward_shared.tensors import Tensors

NO_REPLY = "no reply before the deadline"
SITE_ERROR = "the site's process failed"
NOT_CONNECTED = "not connected"
LATER = f"refused: {RefusalCode.LATER.value}"


@dataclass
class Round:
    """Round `number` of the study, which starts from the adapter with the digest `adapter`.

    `layout` is that of an update of the study's rank. `asked` are the sites that got a request.
    """

    number: int
    charter: Charter
    adapter: str
    opened_at: float
    asked: frozenset[str]
    layout: Layout
    collector: Collector
    updates: dict[str, str] = field(default_factory=dict)
    """Site → digest of the update that was folded."""
    heads: dict[str, str] = field(default_factory=dict)
    """Site → blinded head of its audit log, as it came with that update."""
    missing: dict[str, str] = field(default_factory=dict)
    """Site → why its update is not in the sum."""
    epsilon: dict[str, float] = field(default_factory=dict)
    """Site → ε of its account as its ledger reported it (infinite without DP)."""
    postponed: set[str] = field(default_factory=set)
    """Sites that may take part at another hour: they are outstanding and can be asked again."""
    bytes_up: int = 0
    """Bytes of the updates offered, those that were not folded too."""

    def __post_init__(self) -> None:
        for participant in self.charter.participants:
            if participant.name not in self.asked:
                self.missing[participant.name] = NOT_CONNECTED

    @property
    def outstanding(self) -> frozenset[str]:
        """Sites that were asked and have neither answered nor failed."""
        return self.asked - self.updates.keys() - self.missing.keys()

    def offer(self, site: str, answer: Answer) -> None:
        """Takes the answer of `site`. Whatever is wrong with it makes the site missing, no more."""
        if site not in self.outstanding:
            return
        match answer:
            case Update() if answer.site == site:
                self._fold(site, answer)
            case Refusal(code=RefusalCode.LATER):
                self.postponed.add(site)
            case Refusal():
                self.missing[site] = f"refused: {answer.code.value}"
            case _:
                self.missing[site] = "answered another question"

    def _fold(self, site: str, answer: Update) -> None:
        origin = f"update of {site}"
        self.bytes_up += len(answer.update)
        try:
            delivery = self._delivery(site, answer, origin)
            spent = delivery.spent
            layout = self.layout.at_rank(self.charter.adapter_at(site).rank)
            row = layout.row(answer.update, origin)
            self.collector.add(site, row, self.charter.weight(site))
        except (AdapterError, StatementError) as error:
            self.missing[site] = str(error)
            return
        self.updates[site] = delivery.update
        self.heads[site] = delivery.head
        self.epsilon[site] = spent

    def _delivery(self, site: str, answer: Update, origin: str) -> Delivery:
        """What the site has signed. Raises StatementError unless it is about this very update."""
        delivery = Delivery.read_of(answer.delivery, self.charter, site, origin)
        about = (delivery.round, delivery.adapter, delivery.update)
        if about != (self.number, self.adapter, canonical.digest(answer.update)):
            raise StatementError(f"{origin}: it was made for another round, or is another one")
        return delivery

    def fail(self, site: str, reason: str) -> None:
        """No usable answer of `site` will come."""
        if site in self.outstanding:
            self.missing[site] = reason

    def tick(self, now: float) -> None:
        """Gives up on outstanding sites once the charter's deadline has passed."""
        if now >= self.opened_at + self.charter.aggregation.round_deadline_seconds:
            for site in self.outstanding:
                self.missing[site] = LATER if site in self.postponed else NO_REPLY

    @property
    def closed(self) -> bool:
        """Whether every site has answered, failed or run out of time."""
        return not self.outstanding

    @property
    def sufficient(self) -> bool:
        """Whether the charter's minimum cohort is in the sum."""
        return len(self.updates) >= self.charter.aggregation.minimum_cohort

    def mean(self) -> Tensors:
        """What the charter's rule makes of the cohort's updates; the round is over with it."""
        return self.collector.mean()
