"""A round as a state machine without I/O: who was asked, who answered, who did not and why.

The shell around it sends what `Round` lists as asked and hands it every answer; the clock is an
argument. An update is folded the moment it is offered, and once only.

A site that has not answered when the round closes is late. The charter says what becomes of it: nothing,
a part in the next round, or, with a buffer, a part in whichever round is open when its update comes.
Until then it is not asked anything else: one site, one request at a time, and one update in a round.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from fedward_server.collecting import FRESH_WEIGHT, Collector
from fedward_server.layout import Layout
from fedward_server.reasons import LATE, LATER, NO_REPLY, NOT_CONNECTED
from fedward_shared import canonical
from fedward_shared.assurances import Delivery
from fedward_shared.charter import Charter
from fedward_shared.errors import AdapterError, RefusalCode, StatementError
from fedward_shared.messages import Answer, Refusal, Update
from fedward_shared.tensors import Tensors


def chosen(charter: Charter, number: int, there: Collection[str], carried: int) -> list[str]:
    """Which of the sites that are `there` round `number` asks, beside `carried` who have been asked.

    Drawn by a hash of charter, round and name: anybody can check that nobody was picked.
    """

    def lot(site: str) -> str:
        return canonical.digest(f"{charter.digest} {number} {site}".encode())

    cohort = charter.aggregation.cohort
    return sorted(there, key=lot)[: None if cohort is None else max(0, cohort - carried)]


@dataclass(frozen=True)
class Ask:
    """A site was asked for `round`, which starts from the adapter of that digest, `at` that time (s)."""

    round: int
    adapter: str
    at: float


def delivered(answer: Update, charter: Charter, ask: Ask, origin: str) -> Delivery:
    """What the site has signed. Raises StatementError unless it is about this very update."""
    delivery = Delivery.read_of(answer.delivery, charter, answer.site, origin)
    about = (delivery.round, delivery.adapter, delivery.update)
    if about != (ask.round, ask.adapter, canonical.digest(answer.update)):
        raise StatementError(f"{origin}: it was made for another round, or is another one")
    return delivery


@dataclass
class Round:
    """Round `number` of the study. `asked`: the sites that got a request, for this round or before.

    `layout` is that of an update of the study's rank.
    """

    number: int
    charter: Charter
    asked: Mapping[str, Ask]
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
    late: dict[str, Ask] = field(default_factory=dict)
    """Sites whose update may still come, once the round is closed."""
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
        return frozenset(self.asked.keys() - self.updates.keys() - self.missing.keys())

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
            delivery = delivered(answer, self.charter, self.asked[site], origin)
            spent = delivery.spent
            rank = self.charter.participant(site).rank
            layout = self.layout if rank is None else self.layout.at_rank(rank)
            row = layout.row(answer.update, origin)
            self.collector.add(site, row, self._weight(site))
        except (AdapterError, StatementError) as error:
            self.missing[site] = str(error)
            return
        self.updates[site] = delivery.update
        self.heads[site] = delivery.head
        self.epsilon[site] = spent
        if len(self.updates) == self._enough:
            for slow in self.outstanding:
                self._give_up(slow, LATE)

    @property
    def _enough(self) -> int | None:
        return self.charter.aggregation.buffer or self.charter.aggregation.enough

    def _weight(self, site: str) -> int:
        if self.charter.aggregation.buffer is None:
            return self.charter.weight(site)
        return round(FRESH_WEIGHT / math.sqrt(1 + self.number - self.asked[site].round))

    def _give_up(self, site: str, reason: str) -> None:
        if site in self.postponed:
            self.missing[site] = LATER
        else:
            self.missing[site] = reason
            self.late[site] = self.asked[site]

    def fail(self, site: str, reason: str) -> None:
        """No usable answer of `site` will come."""
        if site in self.outstanding:
            self.missing[site] = reason

    def tick(self, now: float) -> None:
        """Gives up on outstanding sites for which the charter's deadline has passed."""
        patience = self.charter.aggregation.round_deadline_seconds
        for site in self.outstanding:
            if now >= self.asked[site].at + patience:
                self._give_up(site, NO_REPLY)

    @property
    def carried(self) -> dict[str, Ask]:
        """Of the late sites those whose update the next round takes, by the charter's rule.

        With a buffer, those for which the deadline has not passed; else those who are late for the
        first time.
        """
        terms = self.charter.aggregation
        if terms.buffer is not None:
            return {site: ask for site, ask in self.late.items() if self.missing[site] == LATE}
        if terms.late == "drop":
            return {}
        return {site: ask for site, ask in self.late.items() if ask.round == self.number}

    @property
    def fresh(self) -> int:
        """How many sites were asked for this very round."""
        return sum(ask.round == self.number for ask in self.asked.values())

    @property
    def made_for(self) -> dict[str, int]:
        """For which round an update was made, where that is another one."""
        rounds = {site: self.asked[site].round for site in sorted(self.updates)}
        return {site: number for site, number in rounds.items() if number != self.number}

    @property
    def closed(self) -> bool:
        """Whether every site has answered, failed or run out of time, or enough have answered."""
        return not self.outstanding

    @property
    def sufficient(self) -> bool:
        """Whether the charter's minimum cohort is in the sum."""
        return len(self.updates) >= self.charter.aggregation.minimum_cohort

    def mean(self) -> Tensors:
        """What the charter's rule makes of the cohort's updates; the round is over with it."""
        return self.collector.mean()
