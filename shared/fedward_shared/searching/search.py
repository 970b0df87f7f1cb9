"""The search for settings: the section `[search]`, and trials until there are enough (Optuna).

A worker is a process that calls `search`; any number of them share a folder on one machine, begin and
end when they like, and a search that was stopped goes on in the same folder.

On public data trials are free. On private data each is booked before it begins, and composed with all
others: a search learns from its trials, and what it learns decides what it tries next. A loss that is
reported or returned has to be covered by the booked event, or to be that of public data. One winner of
a random number of trials costs less: `selecting.py`.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, Self

from pydantic import Field, model_validator

from fedward_shared.errors import BudgetExceeded, NotNow
from fedward_shared.privacy.plan import Event
from fedward_shared.terms import Terms

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from fedward_shared.searching.trials import Trial, Trials

Value = str | bool | int | float
Parameters = Mapping[str, Value]

SEEDS = 2**32


class Range(Terms):
    """Numbers from `low` to `high`, both included; evenly by their logarithm with `log`."""

    low: int | float
    high: int | float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _orderly(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low, high: {self.low} to {self.high} is no range")
        if self.log and self.low <= 0:
            raise ValueError(f"low: {self.low} has no logarithm")
        if self.whole and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ValueError(f"low, high: {self.low} or {self.high} is no whole number")
        return self


class Choice(Terms):
    """One of some values, which have no order."""

    values: Annotated[tuple[Value, ...], Field(min_length=2)]


class SearchTerms(Terms):
    """The section `[search]`.

    `sampler`: `tpe` (tree of Parzen estimators, Bergstra et al. 2011), `gp` (Gaussian process) or
    `random`, which the first `startup` trials are with any. `pruner`: a trial is stopped whose best
    loss is above the `median` of the others at the same step, from the `startup`-th trial on, or which
    is not among the best quarter at steps that are four times apart (`halving`: asynchronous
    successive halving, Li et al. 2020); neither before step `warmup`.
    """

    parameters: Annotated[dict[str, Range | Choice], Field(min_length=1)]
    trials: Annotated[int, Field(ge=1)] = 50
    sampler: Literal["tpe", "gp", "random"] = "tpe"
    pruner: Literal["median", "halving", "none"] = "median"
    startup: Annotated[int, Field(ge=1)] = 10
    warmup: Annotated[int, Field(ge=0)] = 0


class Stopped(Exception):
    """Raised by `report`: the trial is worse than others, or its loss no number. Let it pass."""


class Report:
    """What a training calls with a step and the loss so far.

    `number` is the trial's, `first` that of the one whose settings it has, where that one died.
    """

    def __init__(self, trial: "Trial", prune: bool) -> None:
        self.number, self.first = trial.number, trial.first
        self._trial, self._prune = trial, prune

    def __call__(self, step: int, loss: float) -> None:
        """Raises Stopped."""
        if not math.isfinite(loss):
            raise Stopped(f"the loss of step {step} is {loss}")
        if self._trial.report(step, loss) and self._prune:
            raise Stopped(f"the loss of step {step} is {loss:g}, worse than of other trials")


class Train(Protocol):
    """A training with these settings; its loss, of which the least is wanted. It calls `report`."""

    def __call__(self, parameters: Parameters, report: Report, /) -> float: ...


class Book(Protocol):
    """Books trial `number` before it begins. Raises BudgetExceeded or NotNow where it must not begin."""

    def __call__(self, number: int, event: Event, /) -> None: ...


@dataclass(frozen=True)
class Private:
    """A search on private data: what a trial with these settings does to it, and who books that."""

    event: Callable[[Parameters], Event]
    book: Book


@dataclass(frozen=True)
class Found:
    """What a search has come to: the best settings with their loss, and how many trials ended how.

    `ended` is why it ended before its time.
    """

    parameters: dict[str, Value] | None
    loss: float | None
    number: int | None
    finished: int
    stopped: int
    lost: int
    ended: str | None = None


def search(
    folder: Path,
    terms: SearchTerms,
    train: Train,
    *,
    seed: int,
    private: Private | None = None,
    after: Callable[["Trials"], object] = lambda _: None,
) -> Found:
    """Runs trials until `terms.trials` of all workers are finished or stopped; `after` each is called.

    With one worker the same seed gives the same trials, also if it was stopped between two. What
    `train` raises ends this worker; that trial is begun again by the next, three times in all, or as
    often as it is Interrupted.
    Raises StateError for a folder with another search.
    """
    with closing(opened(folder, terms, seed)) as trials:
        while (trial := trials.next(terms.trials)) is not None:
            with trial:
                try:
                    if private is not None:
                        private.book(trial.number, private.event(trial.parameters))
                except (BudgetExceeded, NotNow) as error:
                    trial.refuse()
                    return found(trials, str(error))
                run(trial, train, prune=terms.pruner != "none")
            after(trials)
        return found(trials)


def run(trial: "Trial", train: Train, *, prune: bool) -> None:
    """One trial to its end. What `train` raises passes, but Stopped."""
    try:
        loss = train(trial.parameters, Report(trial, prune))
    except Stopped:
        trial.stop()
        return
    if math.isfinite(loss):
        trial.finish(loss)
    else:
        trial.stop()


def opened(folder: Path, terms: SearchTerms, seed: int) -> "Trials":
    """The trials of this search in `folder`, new or as they were left. Raises StateError."""
    from fedward_shared.searching.trials import Trials

    # That there are to be more of them makes it no other search.
    identity = {"seed": seed, **terms.model_dump(mode="json", exclude={"trials"})}
    space = {name: _distribution(each) for name, each in sorted(terms.parameters.items())}
    return Trials(
        folder, identity, space, lambda number: _sampler(terms, seed, number), _pruner(terms)
    )


def found(trials: "Trials", ended: str | None = None) -> Found:
    """The best of them so far; of two that are as good, the first."""
    from optuna.trial import TrialState

    states = [trial.state for trial in trials.all()]
    finished = [trial for trial in trials.all() if trial.state == TrialState.COMPLETE]
    best = min(finished, key=lambda trial: (trial.value, trial.number), default=None)
    return Found(
        parameters=dict(best.params) if best else None,
        loss=best.value if best else None,
        number=best.number if best else None,
        finished=len(finished),
        stopped=states.count(TrialState.PRUNED),
        lost=trials.lost(),
        ended=ended,
    )


def _distribution(terms: Range | Choice) -> "BaseDistribution":
    from optuna import distributions

    if isinstance(terms, Choice):
        return distributions.CategoricalDistribution(terms.values)
    if terms.whole:
        return distributions.IntDistribution(int(terms.low), int(terms.high), log=terms.log)
    return distributions.FloatDistribution(terms.low, terms.high, log=terms.log)


def _sampler(terms: SearchTerms, seed: int, number: int) -> "BaseSampler":
    """One for each trial: what a process has drawn before is then of no account."""
    import numpy as np
    from optuna import samplers

    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) % SEEDS
    if terms.sampler == "random":
        return samplers.RandomSampler(seed=own)
    if terms.sampler == "gp":
        return samplers.GPSampler(seed=own, n_startup_trials=terms.startup)
    return samplers.TPESampler(seed=own, n_startup_trials=terms.startup, multivariate=True)


def _pruner(terms: SearchTerms) -> "BasePruner":
    from optuna import pruners

    if terms.pruner == "none":
        return pruners.NopPruner()
    if terms.pruner == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=max(1, terms.warmup))
    return pruners.MedianPruner(n_startup_trials=terms.startup, n_warmup_steps=terms.warmup)
