"""The sections of a charter, and what has to hold within each."""

from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, model_validator

from fedward_shared.identity import KeyText, PublicKey
from fedward_shared.privacy.clipping import AdaptiveClipping
from fedward_shared.privacy.unit import Unit
from fedward_shared.rules import Rule
from fedward_shared.terms import Digest, Name, Terms

WITHOUT_DP = "this study trains without differential privacy"
"""The plain words that both a charter and a site's settings must hold for a study without DP."""

Decimal = Annotated[float, PlainSerializer(repr, when_used="json")]
"""Its canonical form is the shortest text that gives the same double."""

Positive = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


TaskKind = Literal["text-classification", "token-classification", "causal-lm"]


class BaseModelTerms(Terms):
    """Which frozen model is adapted: the digest of its folder, not a name that can be re-used."""

    digest: Digest


class TaskTerms(Terms):
    """What is learnt, from which fields of a record.

    `labels`: of texts, or of the entities in them.
    """

    kind: TaskKind
    labels: tuple[str, ...] = ()
    max_tokens: Annotated[int, Field(ge=2, le=8192)] = 128

    @model_validator(mode="after")
    def _labels_fit_the_kind(self) -> "TaskTerms":
        if self.kind == "text-classification" and len(self.labels) < 2:
            raise ValueError("labels: a classification has at least two")
        if self.kind == "token-classification" and not self.labels:
            raise ValueError("labels: a token-classification has at least one, of entities")
        if self.kind == "token-classification" and not all(self.labels):
            raise ValueError("labels: one is empty")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: one occurs twice")
        return self

    @property
    def has_head(self) -> bool:
        """Whether a head is trained; a language model has all that it needs."""
        return self.kind != "causal-lm"


class AdapterTerms(Terms):
    """Which low-rank tensors are trained, and which stay as they start (docs/explanation/methods.md).

    `alpha` / `rank` scales the adapter in the forward pass, and with it the adapter's share of a
    clipped gradient. For `prefix-tuning`, `rank` is the number of positions before the text. `sketch`:
    which part of each tensor's numbers trains and travels in a round, drawn anew for each (`sketch.py`).
    """

    method: Literal[
        "lora-xs",
        "ffa-lora",
        "fedsvd",
        "lora",
        "rolora",
        "fedex-lora",
        "flora",
        "hetlora",
        "prefix-tuning",
        "head-only",
    ]
    rank: Annotated[int, Field(ge=1, le=1024)] = 8
    alpha: Positive = 8.0
    target_modules: tuple[str, ...] = ()
    layers: tuple[Annotated[int, Field(ge=0, le=10_000)], ...] = ()
    sketch: Annotated[Decimal, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _targets_fit_the_method(self) -> "AdapterTerms":
        if self.method == "prefix-tuning":
            if self.target_modules or not self.layers:
                raise ValueError("target_modules and layers: prefix-tuning has layers alone")
        elif self.method != "head-only" and not (self.target_modules and self.layers):
            raise ValueError(f"target_modules and layers: {self.method} needs both")
        return self


class AdaptiveClippingTerms(Terms):
    """Clipping norms that follow a quantile of the gradients' lengths, from `clipping_norm` on.

    The counts that this takes cost `count_share` of 1/σ²; σ stays what is booked.
    """

    quantile: Annotated[Decimal, Field(gt=0, lt=1)] = 0.5
    learning_rate: Annotated[Decimal, Field(gt=0, le=1)] = 0.2
    count_share: Annotated[Decimal, Field(gt=0, lt=1)] = 0.01


class PrivacyTerms(Terms):
    """What one study may cost one privacy unit at each site, and the mechanism that costs it.

    `unit`: a record, or everything that a patient or customer has in the dataset, by the column that
    each site names as `owner` of its dataset. `records_per_unit`: how many of one's records enter a
    training at most, drawn anew for each; all of them if it is absent. `adapter_share`: the adapters'
    part of the squared clipping norm where the head moves too. `bands`: over how many steps of a round
    noise is correlated; 1 for noise that is independent.
    """

    mechanism: Literal["dp-sgd", "none"] = "dp-sgd"
    without_dp: str = ""
    unit: Unit = "record"
    records_per_unit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    epsilon: Positive | None = None
    delta: Annotated[Decimal, Field(gt=0, lt=1)] = 1e-5
    clipping_norm: Positive = 1.0
    adapter_share: Annotated[Decimal, Field(gt=0, lt=1)] = 0.2
    noise_multiplier: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] = 0.0
    sampling_rate: Annotated[Decimal, Field(gt=0, le=1)]
    adaptive_clipping: AdaptiveClippingTerms | None = None
    bands: Annotated[int, Field(ge=1, le=256)] = 1

    @property
    def adaptive(self) -> AdaptiveClipping | None:
        """`adaptive_clipping` as a training plan has it."""
        found = self.adaptive_clipping
        return None if found is None else AdaptiveClipping(**found.model_dump())

    @model_validator(mode="after")
    def _private_or_said_so(self) -> "PrivacyTerms":
        if self.mechanism == "none" and self.without_dp != WITHOUT_DP:
            raise ValueError(f'without_dp: mechanism "none" needs the words "{WITHOUT_DP}"')
        if self.mechanism == "dp-sgd" and (self.epsilon is None or self.noise_multiplier == 0):
            raise ValueError("epsilon and noise_multiplier: DP-SGD needs both above 0")
        if self.records_per_unit is not None and self.unit == "record":
            raise ValueError('records_per_unit: unit "record" has one record')
        if self.mechanism == "none" and self.adaptive_clipping:
            raise ValueError('adaptive_clipping: mechanism "none" clips nothing')
        return self


class TrainingTerms(Terms):
    """How a site trains within a round, and how many rounds there are.

    In the first `head_rounds` rounds only the head moves; the adapters join after them. `proximal`: how
    strongly a site is held to where the round started, by μ/2·‖w - w₀‖² in its loss (Li et al. 2020,
    "Federated Optimization in Heterogeneous Networks").
    """

    rounds: Annotated[int, Field(ge=1, le=100_000)]
    local_steps: Annotated[int, Field(ge=1, le=100_000)]
    head_rounds: Annotated[int, Field(ge=0, le=100_000)] = 0
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Positive
    head_learning_rate: Positive | None = None
    momentum: Annotated[Decimal, Field(ge=0, lt=1)] = 0.0
    proximal: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _pull_does_not_overshoot(self) -> "TrainingTerms":
        rate = max(self.learning_rate, self.head_learning_rate or 0.0)
        if self.optimizer == "sgd" and rate * self.proximal > 1:
            raise ValueError(
                f"proximal: at a learning rate of {rate:g} a step is pulled past the round's start by "
                f"more than {1 / rate:g}"
            )
        return self

    def turn(self, number: int) -> int:
        """Which of the rounds in which adapters move, from 1, round `number` is; 0 for none."""
        return max(0, number - self.head_rounds)


class AggregationTerms(Terms):
    """How the coordinator makes one update of many.

    `rule`: the mean, or what withstands `hostile` sites among those of a round. `cohort`: how many of
    the sites that are there a round asks (all); `enough`: with how many updates it closes (with all);
    `late`: what becomes of the others' updates. With a `buffer` nobody waits: the server steps whenever
    it holds so many updates (Nguyen et al. 2022, "Federated Learning with Buffered Asynchronous
    Aggregation"), each weighted by (1 + s)^-½ if it has stepped s times since the site was asked.
    """

    rule: Rule = "mean"
    hostile: Annotated[int, Field(ge=0, le=10_000)] = 0
    weights: Literal["equal", "declared-records"] = "equal"
    server_optimizer: Literal["fedavg", "fedavgm", "fedadam", "fedyogi"] = "fedavg"
    server_learning_rate: Positive = 1.0
    server_momentum: Annotated[Decimal, Field(ge=0, lt=1)] = 0.0
    minimum_cohort: Annotated[int, Field(ge=1)]
    cohort: Annotated[int, Field(ge=1)] | None = None
    enough: Annotated[int, Field(ge=1)] | None = None
    late: Literal["drop", "next-round"] = "drop"
    buffer: Annotated[int, Field(ge=1)] | None = None
    round_deadline_seconds: Positive = 3600.0
    maximum_update_norm: Annotated[Decimal, Field(ge=1e-6, le=1e6, allow_inf_nan=False)] = 100.0


class SecureAggregationTerms(Terms):
    """Masks: the coordinator gets sums of updates, of `aggregation.minimum_cohort` sites or more.

    `precision`: bits of a coordinate, sign included. `colluding`: how many participants may work
    together with the coordinator. `bound`: what a coordinate of an update is cut off at, on either side
    of 0; without it, what the training terms say that one can reach. `noise`: each site's own, made
    before the masks, or `distributed`, shares of which only the sum is enough (`distributed.py`).
    """

    precision: Annotated[int, Field(ge=2, le=24)] = 12
    colluding: Annotated[int, Field(ge=0, le=10**4)] = 1
    bound: Positive | None = None
    noise: Literal["local", "distributed"] = "local"


class Party(Terms):
    """An institution, and the key that its signatures are checked with."""

    name: Name
    key: KeyText

    @property
    def public_key(self) -> PublicKey:
        """What `key` stands for."""
        return PublicKey(self.key)


class Participant(Party):
    """A site that takes part. `records` is the public, declared number of its privacy units: of
    patients or customers, not of their records, where `privacy.unit` says so. `rank`: of its adapters,
    where that is less than the study's.
    """

    records: Annotated[int, Field(ge=1, le=10**9)]
    rank: Annotated[int, Field(ge=1, le=1024)] | None = None
