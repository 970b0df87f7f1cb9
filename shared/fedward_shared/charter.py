"""The charter of a study whose sites hold records of the same kind (horizontal partitioning).

A coordinator writes `charter.toml`, a draft. Signed, it becomes `charter.json`: a statement whose body
is the charter. That file, with `initial.safetensors`, the tensors the study starts from, is what sites
get: they keep a copy of each charter that they have approved, and run no other.
"""

from pathlib import Path

from pydantic import model_validator

from fedward_shared import agreement, canonical, names, rules, tensors
from fedward_shared.agreement import CHARTER_FILE, Agreement
from fedward_shared.charter_terms import (
    AdapterTerms,
    AggregationTerms,
    BaseModelTerms,
    PrivacyTerms,
    SecureAggregationTerms,
    TaskTerms,
    TrainingTerms,
)
from fedward_shared.errors import CharterError, PrivacyError
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.names import METHODS
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event, TrainingPlan
from fedward_shared.privacy.reach import reach
from fedward_shared.privacy.unit import Unit
from fedward_shared.secagg import graph
from fedward_shared.secagg.ring import ring_for
from fedward_shared.tensors import Schema
from fedward_shared.terms import Digest

INITIAL_FILE = "initial.safetensors"


class Charter(Agreement):
    """All terms of one study."""

    KIND = "fedward/charter/1"

    base_model: BaseModelTerms
    initial: Digest
    task: TaskTerms
    adapter: AdapterTerms
    privacy: PrivacyTerms
    training: TrainingTerms
    aggregation: AggregationTerms
    secure_aggregation: SecureAggregationTerms | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Charter":
        sites = len(self.participants)
        if self.training.head_rounds and not self.task.has_head:
            raise ValueError("training.head_rounds: a causal language model has no head")
        if self.aggregation.minimum_cohort > sites:
            raise ValueError(
                f"aggregation.minimum_cohort is {self.aggregation.minimum_cohort}, "
                f"participants are {sites}"
            )
        self._check_plan()
        self._check_method()
        terms = self.aggregation
        masked = self.secure_aggregation is not None
        rules.check(terms.rule, terms.hostile, terms.minimum_cohort, terms.weights, masked)
        sizes = (terms.minimum_cohort, terms.enough, terms.buffer, terms.cohort, sites)
        rules.check_flow(terms.rule, terms.weights, sizes, terms.late, masked)
        return self

    def _check_plan(self) -> None:
        """Raises ValueError for terms of privacy and training that cannot be had together."""
        try:
            self.plan(self.participants[0].name)
        except PrivacyError as error:
            raise ValueError(f"privacy.{error}") from error

    def _check_method(self) -> None:
        """Raises ValueError for what the adapter method cannot do."""
        method = self.adapter.method
        ranks = {p.name: p.rank for p in self.participants if p.rank is not None}
        if ranks and not METHODS[method].mixed_ranks:
            able = ", ".join(name for name, traffic in METHODS.items() if traffic.mixed_ranks)
            raise ValueError(
                f"participants.rank: {method} needs one rank for all sites; {able} can mix them"
            )
        if METHODS[method].each and self.aggregation.rule != "mean":
            raise ValueError(
                f"aggregation.rule: {self.aggregation.rule} compares updates number by number, and of "
                f"{method} the coordinator makes {METHODS[method].each}; take the mean"
            )
        if METHODS[method].each and self.secure_aggregation is not None:
            raise ValueError(
                f"secure_aggregation: under {method} the coordinator has to know "
                f"{METHODS[method].each} of every site, and of masked updates it sees only the sum"
            )
        terms = self.aggregation
        if not METHODS[method].ages and (terms.buffer or terms.late == "next-round"):
            raise ValueError(
                f"aggregation.buffer, aggregation.late: under {method} an update does not fit the "
                "tensors of a later round"
            )
        if self.adapter.sketch < 1 and METHODS[method].each:
            raise ValueError(
                f"adapter.sketch: under {method} the coordinator makes {METHODS[method].each}, and has "
                "only some numbers of the factors"
            )
        if self.adapter.sketch < 1 and (terms.buffer or terms.late == "next-round"):
            raise ValueError(
                "adapter.sketch: each round sends other numbers: no buffer, and no late updates"
            )
        for name, rank in ranks.items():
            if rank > self.adapter.rank:
                more = f"more than adapter.rank {self.adapter.rank}"
                raise ValueError(f"participants.rank: {name} has {rank}, {more}")
        if method == "fedsvd" and self.aggregation.server_optimizer in ("fedadam", "fedyogi"):
            raise ValueError(
                "aggregation.server_optimizer: fedsvd turns its tensors between rounds, and the second "
                "moments of fedadam and fedyogi belong to coordinates; take fedavg or fedavgm"
            )

    @model_validator(mode="after")
    def _masks_can_work(self) -> "Charter":
        masks = self.secure_aggregation
        if masks is None:
            return self
        try:
            graph.check_terms(
                len(self.participants), self.aggregation.minimum_cohort, masks.colluding
            )
            ring_for(self.masked_weight, masks.precision)
        except CharterError as error:
            raise ValueError(f"secure_aggregation: {error}") from error
        if masks.noise == "distributed" and self.training.optimizer != "sgd":
            raise ValueError(
                f"secure_aggregation.noise: {self.training.optimizer} divides by what it has seen, "
                "which nothing has made private; take sgd"
            )
        if masks.bound is None and (reason := self._no_bound()):
            raise ValueError(f"secure_aggregation.bound: {reason}, so it has to be stated")
        return self

    def _no_bound(self) -> str:
        """Why the bound of a coordinate cannot be derived, empty if it can (`privacy.reach`)."""
        privacy, terms = self.privacy, self.training
        if privacy.mechanism == "none":
            return "nothing is clipped without DP"
        if privacy.adaptive_clipping is not None:
            return "adaptive clipping moves the clipping norm"
        if terms.optimizer != "sgd":
            return f"{terms.optimizer} divides by what it has seen"
        if terms.proximal and terms.momentum:
            return "with momentum a proximal term may overshoot"
        return ""

    def adapter_at(self, site: str) -> AdapterTerms:
        """The adapter of `site`: of its own rank, and scaled as everybody's."""
        rank = self.participant(site).rank or self.adapter.rank
        alpha = self.adapter.alpha * rank / self.adapter.rank
        return self.adapter.model_copy(update={"rank": rank, "alpha": alpha})

    def sent(self, initial: Schema, site: str | None, number: int) -> Schema:
        """What `site` sends in round `number`, of a study whose first tensors have this schema."""
        full, share = self.trained(initial, site, number), self.adapter.sketch
        if share == 1:
            return full
        return {name: (names.sketched(shape, share),) for name, shape in full.items()}

    def trained(self, initial: Schema, site: str | None, number: int) -> Schema:
        """The tensors of which that is all, or a sketch; without a `site`, those at the study's rank."""
        rank = (site and self.participant(site).rank) or self.adapter.rank
        return names.sent(initial, self.adapter.method, self.training.turn(number), rank)

    def handed_out(self, initial: Schema) -> Schema:
        """What every round hands out, to all sites alike."""
        return names.handed_out(initial, self.adapter.method)

    def plan(self, site: str) -> TrainingPlan:
        """What `site` does in one round."""
        return TrainingPlan(
            mechanism=self.privacy.mechanism,
            sampling_rate=self.privacy.sampling_rate,
            noise_multiplier=self.privacy.noise_multiplier,
            clipping_norm=self.privacy.clipping_norm,
            steps=self.training.local_steps,
            expected_batch=self.privacy.sampling_rate * self.participant(site).records,
            adapter_share=self.privacy.adapter_share,
            unit=self.privacy.unit,
            records_per_unit=self.privacy.records_per_unit,
            adaptive=self.privacy.adaptive,
            bands=self.privacy.bands,
            noise="distributed" if self.distributed_noise else "local",
        )

    @property
    def distributed_noise(self) -> bool:
        """Whether the sites make the noise together, so that only the sum of updates is private."""
        return (
            self.secure_aggregation is not None and self.secure_aggregation.noise == "distributed"
        )

    def weight(self, site: str) -> int:
        """Of its update in the mean: the charter's rule; nothing that a site says of itself enters."""
        if self.aggregation.weights == "equal":
            return 1
        largest = max(participant.records for participant in self.participants)
        return max(1, round(100 * self.participant(site).records / largest))

    @property
    def total_weight(self) -> int:
        """Of all participants."""
        return sum(self.weight(participant.name) for participant in self.participants)

    @property
    def masked_weight(self) -> int:
        """How many integers of a single coordinate the sum over a cohort has, at most.

        Noise that sites make together is made in the ring itself, so that weights enter before it.
        """
        return len(self.participants) if self.distributed_noise else self.total_weight

    def coordinate_bounds(self, number: int) -> tuple[float, float]:
        """What coordinates of head and adapters are cut off at in the updates of round `number`.

        Only where there are `secure_aggregation` terms.
        """
        masks, training = self.secure_aggregation, self.training
        assert masks is not None
        if masks.bound is not None:
            return masks.bound, masks.bound
        smallest = min(self.participants, key=lambda participant: participant.records)
        plan = self.plan(smallest.name)
        adapters_move = self.adapter.method != "head-only" and number > training.head_rounds
        norms = plan.clipping_norms(self.task.has_head, adapters_move)
        rates = training.head_learning_rate or training.learning_rate, training.learning_rate
        head, adapter = (
            reach(plan, norm, rate, training.momentum)
            for norm, rate in zip(norms, rates, strict=True)
        )
        return head, adapter

    @property
    def epsilon(self) -> float | None:
        """What a site spends at most; None without DP."""
        return None if self.privacy.mechanism == "none" else self.privacy.epsilon

    @property
    def delta(self) -> float:
        """At which δ."""
        return self.privacy.delta

    @property
    def unit(self) -> Unit:
        """Of whom one at a time is protected."""
        return self.privacy.unit

    def events(self, site: str) -> list[Event]:
        """What `site` books, in order, if nothing is lost on the way."""
        return [self.plan(site).event] * self.training.rounds

    @property
    def schedule(self) -> list[Event]:
        """What the whole study does at each site: the same, whichever it is."""
        return self.events(self.participants[0].name)

    def check_privacy(self) -> None:
        """Raises CharterError if the schedule costs more than the ε the charter states."""
        if self.privacy.mechanism == "none":
            return
        cost = accountant.epsilon(self.schedule, self.privacy.delta)
        if self.privacy.epsilon is None or cost > self.privacy.epsilon:
            raise CharterError(
                f"charter {self.study}: privacy.epsilon is {self.privacy.epsilon}, but "
                f"{self.training.rounds} rounds of {self.training.local_steps} steps at "
                f"q = {self.privacy.sampling_rate}, σ = {self.privacy.noise_multiplier} cost "
                f"ε = {cost:.4f} at δ = {self.privacy.delta}"
            )


def read_draft(path: Path, **computed: object) -> Charter:
    """The charter that is drafted in the TOML file `path`, with the fields that are `computed`.

    Raises CharterError, naming file and field, for a file that is missing, malformed or cannot be
    read, or terms that cost more than they state.
    """
    return _checked(parse({**agreement.read_toml(path), **computed}, str(path)), path)


def load(folder: Path) -> tuple[Charter, tensors.Arrays]:
    """The signed charter in `folder` and its initial tensors.

    Raises CharterError or StatementError, naming file and field, for a file that is missing, is not
    signed by the coordinator whom it names, or is not canonical; for terms that cost more than they
    state, or initial tensors that are not the ones named.
    """
    path = folder / CHARTER_FILE
    charter = _checked(agreement.read(path, Charter), path)
    initial_path = folder / INITIAL_FILE
    data = agreement.read_bytes(initial_path)
    if canonical.digest(data) != charter.initial:
        raise CharterError(
            f"{initial_path}: its digest is {canonical.digest(data)}, the charter names "
            f"{charter.initial}"
        )
    return charter, tensors.arrays(data, str(initial_path))


def _checked(charter: Charter, path: Path) -> Charter:
    try:
        charter.check_privacy()
    except CharterError as error:
        raise CharterError(f"{path}: {error}") from error
    return charter


def parse(content: object, origin: str) -> Charter:
    """A charter of a JSON-like object. Raises CharterError that names each wrong field."""
    return agreement.parse(content, Charter, origin)


def save(folder: Path, charter: Charter, initial: tensors.Either, key: SigningKey) -> None:
    """Writes `initial.safetensors` and then `charter.json`, signed with the coordinator's `key`.

    Raises CharterError if the charter names other tensors or another coordinator's key.
    """
    data = tensors.encode(initial)
    if canonical.digest(data) != charter.initial:
        raise CharterError(f"charter {charter.study}: initial: not the digest of these tensors")
    signed = charter.signed(key)
    write_atomically(folder / INITIAL_FILE, data)
    write_atomically(folder / CHARTER_FILE, signed)
