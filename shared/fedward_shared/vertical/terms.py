"""What a vertical study agrees on: who holds which columns, how they are aligned, fitted, protected."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fedward_shared.charter_terms import Decimal, Positive
from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.bounded import BoundedNoise
from fedward_shared.privacy.plan import UNPROTECTED, Event, TrainingPlan
from fedward_shared.privacy.randomized import RandomizedResponse
from fedward_shared.privacy.unit import Unit
from fedward_shared.psi.identifiers import RULES
from fedward_shared.psi.shown import Shown
from fedward_shared.terms import Name, Terms
from fedward_shared.vertical.columns import ColumnName, TableTerms

SCORE_BUCKETS, SCORE_RANGE = 128, 8.0
"""Into so many pieces of equal width the scores of a party (log-odds) are counted, on so much of either
side of 0; what is beyond counts as the end that it is beyond."""
MOST_CLASSES = 256
"""An answer is one byte."""
BINARY = ("0", "1")
"""The classes where none are named."""

ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class AlignmentTerms(Shown):
    """How the parties find their common records, and what each may learn by it.

    `rules`: one for each part of an identifier (`psi.identifiers`). Fewer common ones than `least` end a
    session in which a model is fitted. A prediction may be of one person, or of nobody in common:
    whoever may ask for one learns about one.
    """

    rules: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)]
    least: Annotated[int, Field(ge=2)] = 100

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(rules) - RULES.keys()):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(RULES)}")
        return rules

    @property
    def of_queries(self) -> "AlignmentTerms":
        """The same for a prediction."""
        return self.model_copy(update={"least": 0})


class ModelTerms(Terms):
    """The top: `members` small networks over `width` sums of the parties' embeddings each, whose answers
    are averaged; `hidden` neurons in each, or none."""

    members: Annotated[int, Field(ge=1, le=64)] = 8
    width: Annotated[int, Field(ge=1, le=1024)] = 32
    hidden: Annotated[int, Field(ge=0, le=1024)] = 0
    dropout: Annotated[Decimal, Field(ge=0, lt=1)] = 0.2

    @property
    def embedding(self) -> int:
        """How many numbers a record's embedding has."""
        return self.members * self.width


class FittingTerms(Terms):
    """How often the records are gone through, and by which steps (AdamW, one cycle)."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 20
    batch: Annotated[int, Field(ge=1, le=65_536)] = 128
    learning_rate: Positive = 4e-3
    weight_decay: Annotated[Decimal, Field(ge=0, le=10)] = 0.01
    held_out: Annotated[Decimal, Field(gt=0, lt=1)] = 0.2

    def split(self, records: int) -> tuple[int, int]:
        """How many of the aligned records train, and how many are held out."""
        held = max(1, round(records * self.held_out))
        return records - held, held

    def steps(self, records: int) -> int:
        """Of all epochs over so many records."""
        return self.epochs * -(-records // self.batch)


class OnceTerms(Terms):
    """Each record leaves its party once, as one of few answers, each of which may be another's.

    The active party answers with labels at `label_epsilon` each. A passive one learns from these, by
    DP-SGD (`sampling_rate`, `noise_multiplier`, `clipping_norm`, `steps`), to score its records; counts
    their scores with Gaussian noise of deviation `count_noise`; and answers for each record in which of
    `cells` equally frequent parts its score lies, at `cell_epsilon`.

    Of more than two classes each has a score. The answer is then the class whose score is highest, so
    `cells` is the number of classes, and nothing is counted; `epsilon` has to cover the counts anyway.
    """

    kind: Literal["once"] = "once"
    epsilon: Positive
    delta: Annotated[Decimal, Field(gt=0, lt=1)] = 1e-5
    unit: Unit = "record"
    label_epsilon: Positive
    cell_epsilon: Positive
    cells: Annotated[int, Field(ge=2, le=256)]
    count_noise: Positive = 30.0
    sampling_rate: Annotated[Decimal, Field(gt=0, le=1)] = 0.1
    noise_multiplier: Positive
    clipping_norm: Positive = 1.0
    steps: Annotated[int, Field(ge=1, le=100_000)] = 60
    learning_rate: Positive = 2.0

    def labels(self, classes: int) -> RandomizedResponse:
        """How the active party answers: with one of so many classes."""
        return RandomizedResponse(classes, self.label_epsilon)

    @property
    def scores(self) -> RandomizedResponse:
        """How a passive party answers: with a cell."""
        return RandomizedResponse(self.cells, self.cell_epsilon)

    @property
    def counts(self) -> Event:
        """Of a passive party's scores: one record that is another moves two counts by 1."""
        return Event("gaussian", 1.0, self.count_noise / 2**0.5, 1, self.unit)

    def plan(self, records: int) -> TrainingPlan:
        """How a passive party learns from so many labels."""
        return TrainingPlan(
            mechanism="dp-sgd",
            sampling_rate=self.sampling_rate,
            noise_multiplier=self.noise_multiplier,
            clipping_norm=self.clipping_norm,
            steps=self.steps,
            expected_batch=self.sampling_rate * records,
            adapter_share=0.5,
            unit=self.unit,
        )

    def passive_events(self, records: int, classes: int = 2) -> Iterator[Event]:
        """All that a passive party books, in order."""
        yield self.plan(records).event
        if classes == 2:
            yield self.counts
        yield self.answer

    @property
    def answer(self) -> Event:
        """What a passive party books for answering each of some records once."""
        return self.scores.event(self.unit)

    @model_validator(mode="after")
    def _within(self) -> "OnceTerms":
        try:
            passive = accountant.epsilon(self.passive_events(1), self.delta)
            active = accountant.epsilon([self.labels(2).event(self.unit)], self.delta)
        except PrivacyError as error:
            raise ValueError(str(error)) from error
        if max(active, passive) > self.epsilon:
            raise ValueError(
                f"epsilon is {self.epsilon:g}, and at δ = {self.delta:g} the labels cost {active:.4f}, "
                f"the answers of a passive party {passive:.4f}"
            )
        return self


class EveryBatchTerms(Terms):
    """Embeddings go forward and gradients back, for every batch of every epoch, both clipped and noised.

    Who is in a batch is known to the peer, so no sampling amplifies. In each epoch a record that is
    another moves what is sent of it by 2·`clipping_norm`, and its part in the steps of its party's model
    by as much, which shows in all that is sent afterwards. Both get noise of deviation
    `noise_multiplier` × that distance.
    """

    kind: Literal["every-batch"] = "every-batch"
    epsilon: Positive
    delta: Annotated[Decimal, Field(gt=0, lt=1)] = 1e-5
    unit: Unit = "record"
    noise_multiplier: Positive
    clipping_norm: Positive = 1.0

    @property
    def noise(self) -> BoundedNoise:
        """What is done to whatever is sent or stepped by."""
        return BoundedNoise(self.clipping_norm, self.noise_multiplier)

    def event(self, epochs: int) -> Event:
        """What each party books."""
        return self.noise.event(2 * epochs, self.unit)

    @property
    def answer(self) -> Event:
        """What a passive party books for embedding each of some records once."""
        return self.noise.event(1, self.unit)


class PassiveTerms(Terms):
    """A party without labels, and its columns."""

    name: Name
    table: TableTerms


class VerticalTerms(Terms):
    """The whole: the `active` party has the labels, `privacy` is None for a study without DP.

    `classes`: the values of the column `label`, in the order of the probabilities; of two, the
    probability is that of the second. `class_weights`: how much a record of each class counts in the
    loss, all alike if there are none. They are agreed upon and not computed: how frequent a class is at
    the active party would be a statistic of its records. 1 / (number of classes × how frequent the class
    is known to be) balances them.

    `predictions`: how often, after the training, the passive parties answer for records that the active
    party asks about. Each time is paid for as if it were about all of their records.
    """

    active: Name
    table: TableTerms
    label: ColumnName
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=MOST_CLASSES)] = BINARY
    class_weights: Annotated[tuple[Positive, ...], Field(max_length=MOST_CLASSES)] = ()
    passive: Annotated[tuple[PassiveTerms, ...], Field(min_length=1, max_length=15)]
    alignment: AlignmentTerms
    model: ModelTerms = ModelTerms()
    fitting: FittingTerms = FittingTerms()
    privacy: Annotated[OnceTerms | EveryBatchTerms, Field(discriminator="kind")] | None = None
    predictions: Annotated[int, Field(ge=0, le=10_000)] = 0

    @model_validator(mode="after")
    def _parties(self) -> "VerticalTerms":
        names = [self.active, *self.peers]
        if len(set(names)) < len(names):
            raise ValueError("passive: a party occurs twice")
        if self.label in self.table.names:
            raise ValueError(f"table: {self.label} is the label and cannot be a column, too")
        return self

    @model_validator(mode="after")
    def _label(self) -> "VerticalTerms":
        count, weights = len(self.classes), len(self.class_weights)
        if len(set(self.classes)) < count:
            raise ValueError("classes: one occurs twice")
        if weights not in (0, count):
            raise ValueError(f"class_weights: there are {weights} for {count} classes")
        if isinstance(self.privacy, OnceTerms) and count > 2 and self.privacy.cells != count:
            raise ValueError(
                f"privacy.cells is {self.privacy.cells}: of more than two classes the answer is one of "
                f"them, so it has to be {count}"
            )
        return self

    @model_validator(mode="after")
    def _within(self) -> "VerticalTerms":
        if self.privacy is None:
            return self
        passive = self.peers[0]
        events = [*self.fitted(passive), *self.predictions * self.predicted(passive)]
        cost = accountant.epsilon(events, self.privacy.delta)
        if cost > self.privacy.epsilon:
            raise ValueError(
                f"privacy.epsilon is {self.privacy.epsilon:g}, the exchange costs {cost:.4f} with "
                f"{self.predictions} predictions"
            )
        return self

    def fitted(self, party: str) -> list[Event]:
        """What `party` books when the model is fitted, in order."""
        classes = len(self.classes)
        if self.privacy is None:
            return [UNPROTECTED]
        if isinstance(self.privacy, EveryBatchTerms):
            return [self.privacy.event(self.fitting.epochs)]
        if party == self.active:
            return [self.privacy.labels(classes).event(self.privacy.unit)]
        return list(self.privacy.passive_events(1, classes))

    def predicted(self, party: str) -> list[Event]:
        """What `party` books for one prediction: the active one nothing, as none of its records' columns
        or labels leaves it."""
        if party == self.active:
            return []
        return [UNPROTECTED if self.privacy is None else self.privacy.answer]

    @property
    def peers(self) -> list[str]:
        """The passive parties."""
        return [party.name for party in self.passive]

    @property
    def outputs(self) -> int:
        """How many numbers say what the label is: the log-odds of the second of two classes, or a score
        for each of more."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    def table_of(self, party: str) -> TableTerms:
        """The columns of a party. Raises KeyError for one that does not take part."""
        return {self.active: self.table, **{p.name: p.table for p in self.passive}}[party]
