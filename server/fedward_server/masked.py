"""A masked round as a state machine without I/O: five stages, in each of which sites may be lost.

    keys → shares → training → survivors → reveal

The shell around it sends each site what `requests` has for it, hands every answer to `offer`, and calls
`advance` once the stage is closed. Up to `survivors` another attempt with fresh keys may follow; after
that no site answers for this round again (`secagg.party`), and the round is over, with a sum or without.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from fedward_server.reasons import LATER, NO_REPLY, NOT_CONNECTED
from fedward_server.rounds import Ask, delivered
from fedward_shared import tensors
from fedward_shared.charter import Charter
from fedward_shared.errors import AdapterError, AggregationError, RefusalCode, StatementError
from fedward_shared.masked import MaskedTerms
from fedward_shared.messages import Answer, MaskAnswer, Refusal, Sharing, Update
from fedward_shared.secagg import parcels
from fedward_shared.secagg.aggregator import Aggregator
from fedward_shared.tensors import Schema, Tensors

Stage = Literal["keys", "shares", "training", "survivors", "reveal", "done"]
FOLLOWING: dict[Stage, Stage] = {
    "keys": "shares",
    "shares": "training",
    "training": "survivors",
    "survivors": "reveal",
    "reveal": "done",
}


ABANDONED = "the round was abandoned"
"""Of a site that is missing for no reason of its own."""


@dataclass
class MaskedRound:
    """One attempt at round `number`, which starts from the adapter with the digest `adapter`.

    `asked` are the sites that get the request of the stage under way, opened at `opened_at`.
    """

    number: int
    attempt: int
    charter: Charter
    adapter: str
    schema: Schema
    opened_at: float
    asked: frozenset[str]
    stage: Stage = "keys"
    updates: dict[str, str] = field(default_factory=dict)
    """Site → digest of its masked vector, which is in the sum."""
    heads: dict[str, str] = field(default_factory=dict)
    """Site → blinded head of its audit log, as it came with that vector."""
    missing: dict[str, str] = field(default_factory=dict)
    """Site → why it is not in the sum."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Site → the stage in which it was lost, also where its vector is in the sum."""
    epsilon: dict[str, float] = field(default_factory=dict)
    """Site → ε of its account as its ledger reported it (infinite without DP)."""
    postponed: set[str] = field(default_factory=set)
    """Sites that may answer at another hour."""
    bytes_up: int = 0
    bytes_down: int = 0
    requests: dict[str, bytes | Sharing] = field(default_factory=dict)
    """What each site that is asked gets of the others' messages."""
    trained: int = 0
    """How many sites were asked to train."""
    mean: Tensors = field(default_factory=dict)
    """The cohort's mean update, once the attempt is done."""
    abandoned: str = ""
    """Why nothing comes of it."""

    def __post_init__(self) -> None:
        self._terms = MaskedTerms(self.charter, self.number, self.schema)
        self._aggregator = Aggregator(self._terms.session(self.attempt))
        self._answered: set[str] = set()
        self._ask(dict.fromkeys(self.asked, b""))
        for participant in self.charter.participants:
            if participant.name not in self.asked:
                self.missing[participant.name] = NOT_CONNECTED

    # What `asking.Asking` wants to know of a stage

    @property
    def outstanding(self) -> frozenset[str]:
        """Sites that were asked in this stage and have neither answered nor failed."""
        return self.asked - self._answered - self.dropped.keys()

    @property
    def closed(self) -> bool:
        """Whether nobody is waited for in this stage."""
        return not self.outstanding

    @property
    def sufficient(self) -> bool:
        """Whether the round can go on with those who have answered in this stage."""
        if self.stage == "reveal":
            return self._aggregator.ready
        return len(self._answered) >= self.charter.aggregation.minimum_cohort

    def fail(self, site: str, reason: str) -> None:
        """No usable answer of `site` will come in this stage, nor in any later one."""
        if site in self.outstanding:
            self.dropped[site] = self.stage
            if site not in self.updates:
                self.missing[site] = f"{self.stage}: {reason}"

    def tick(self, now: float) -> None:
        """Gives up on outstanding sites once the stage has taken the charter's deadline."""
        if now >= self.opened_at + self.charter.aggregation.round_deadline_seconds:
            for site in self.outstanding:
                self.fail(site, LATER if site in self.postponed else NO_REPLY)

    def offer(self, site: str, answer: Answer) -> None:
        """Takes the answer of `site`. Whatever is wrong with it loses the site, no more."""
        if site not in self.outstanding:
            return
        match answer:
            case Refusal(code=RefusalCode.LATER):
                self.postponed.add(site)
            case Refusal():
                self.fail(site, f"refused: {answer.code.value}")
            case Update(masked=True) if self.stage == "training" and answer.site == site:
                self._take(site, answer.update, answer)
            case MaskAnswer() if answer.stage == self.stage and answer.site == site:
                self._take(site, answer.parcel, None)
            case _:
                self.fail(site, "answered another question")

    def _take(self, site: str, data: bytes, update: Update | None) -> None:
        self.bytes_up += len(data)
        try:
            if update is not None:
                self._add_vector(site, update)
            else:
                self._add(site, data)
        except (AdapterError, AggregationError, StatementError) as error:
            self.fail(site, str(error))
            return
        self._answered.add(site)
        self.postponed.discard(site)

    def _add(self, site: str, parcel: bytes) -> None:
        match self.stage:
            case "keys":
                self._aggregator.add_advertisement(site, parcel)
            case "shares":
                self._aggregator.add_envelopes(site, parcel)
            case "survivors":
                self._aggregator.add_agreement(site, parcel)
            case "reveal":
                self._aggregator.add_reveal(site, parcel)

    def _add_vector(self, site: str, answer: Update) -> None:
        origin = f"masked update of {site}"
        ask = Ask(self.number, self.adapter, self.opened_at)
        delivery = delivered(answer, self.charter, ask, origin)
        spent = delivery.spent
        self._aggregator.add_vector(site, answer.update)
        self.updates[site] = delivery.update
        self.heads[site] = delivery.head
        self.epsilon[site] = spent

    # From stage to stage

    def advance(self, now: float) -> None:
        """Closes the stage and opens the next. Raises RoundAbandoned; AdapterError for a sum that no
        updates within the charter's bounds have.
        """
        self.postponed.clear()
        following: dict[str, bytes | Sharing] = {}
        match self.stage:
            case "keys":
                keys = parcels.encode(self._aggregator.close_advertisements())
                following = dict.fromkeys(self._answered, keys)
            case "shares":
                sharers, envelopes = self._aggregator.close_envelopes()
                names, self.trained = _names(sharers), len(sharers)
                following = {site: Sharing(names, envelopes[site]) for site in sharers}
            case "training":
                survivors = self._aggregator.close_vectors()
                following = dict.fromkeys(survivors, _names(survivors))
            case "survivors":
                signatures = self._aggregator.close_agreements()
                following = dict.fromkeys(signatures, parcels.encode(signatures))
            case "reveal":
                self._finish()
        self.stage, self.opened_at = FOLLOWING[self.stage], now
        self._ask(following)

    def _ask(self, requests: dict[str, bytes | Sharing]) -> None:
        self.requests, self.asked = requests, frozenset(requests)
        self._answered = set()
        self.bytes_down += sum(map(_size, requests.values()))

    def _finish(self) -> None:
        found = self._aggregator.close()
        for site in found.liars:
            self.dropped[site] = "reveal: a share of it was false"
        mean = self._terms.mean(found.total, found.survivors)
        norm, bound = tensors.norm(mean), self.charter.aggregation.maximum_update_norm
        if not (math.isfinite(norm) and norm <= bound):
            raise AdapterError(
                f"round {self.number}: the norm of the mean is {norm:.3g}, and no site's update is to "
                f"have more than {bound:g}: a masked vector was not an update"
            )
        self.mean = mean

    def abandon(self, reason: str) -> None:
        """Nothing comes of it, whoever has sent something; what was booked stays booked."""
        self.abandoned = reason
        for participant in self.charter.participants:
            self.missing.setdefault(participant.name, ABANDONED)
        self.updates, self.heads, self.mean = {}, {}, {}

    @property
    def done(self) -> bool:
        """Whether the sum is there."""
        return self.stage == "done"

    @property
    def agreeing(self) -> bool:
        """Whether sites have been asked who survived: there is no other attempt after that."""
        return self.stage in ("survivors", "reveal", "done")

    @property
    def booked(self) -> bool:
        """Whether sites have been asked to train."""
        return self.trained > 0


def _names(sites: tuple[str, ...]) -> bytes:
    return parcels.encode(dict.fromkeys(sites, b""))


def _size(request: bytes | Sharing) -> int:
    if isinstance(request, Sharing):
        return len(request.sharers) + len(request.envelopes)
    return len(request)
