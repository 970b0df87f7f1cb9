"""SEARCH.toml: what is searched for, and what a charter with such settings is.

Only what changes neither the booked event nor the shape of a tensor can be searched: then every trial is
the same mechanism, whatever its settings.
"""

import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from fedward_shared import canonical
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import PrivacyTerms, TrainingTerms
from fedward_shared.errors import PrivacyError, UsageError
from fedward_shared.privacy.plan import Event, TrainingPlan
from fedward_shared.searching.search import Choice, Parameters, SearchTerms, Value
from fedward_shared.terms import Terms, describe

SEARCHED = (
    "training.learning_rate",
    "training.head_learning_rate",
    "training.proximal",
    "privacy.clipping_norm",
    "privacy.adapter_share",
)
TRAINED_SHARE = 0.8
"""Of the units, by chance, are trained on in every trial; the others judge it."""


class SelectionTerms(Terms):
    """The section `[selection]`: of how many trials there are, `privacy.selection.Repetitions`."""

    mean: Annotated[float, Field(gt=1)]
    shape: Annotated[float, Field(ge=0)] = 1.0


class SiteSearch(SearchTerms):
    """SEARCH.toml. With a `selection` trials are drawn at random, and there is one winner of them."""

    selection: SelectionTerms | None = None


def read(path: Path) -> SiteSearch:
    """The search in the file `path`. Raises UsageError, naming file and field."""
    try:
        return SiteSearch.model_validate(tomllib.loads(path.read_text("utf-8")))
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error)}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def check(terms: SiteSearch, charter: Charter) -> None:
    """Raises UsageError for a search that cannot be booked, or settings that the charter cannot have."""
    if (terms.selection is None) == (terms.sampler == "random"):
        raise UsageError(
            f"sampler is {terms.sampler!r}, [selection] is "
            f"{'absent' if terms.selection is None else 'there'}: either 'random' with [selection], "
            "booked once, or 'tpe' or 'gp' without, where each trial is booked"
        )
    if terms.pruner != "none":
        raise UsageError(
            f"pruner is {terms.pruner!r}: a trial says one number, when it has ended; take 'none'"
        )
    if unknown := sorted(terms.parameters.keys() - set(SEARCHED)):
        raise UsageError(
            f"parameters: {', '.join(unknown)} cannot be searched; what can is {', '.join(SEARCHED)}"
        )
    for name, value in _ends(terms):
        with_settings(charter, {name: value})


def _ends(terms: SiteSearch) -> Iterator[tuple[str, Value]]:
    for name, asked in terms.parameters.items():
        values = asked.values if isinstance(asked, Choice) else (asked.low, asked.high)
        for value in values:
            yield name, value


def with_settings(charter: Charter, parameters: Parameters) -> Charter:
    """`charter` with these settings. Raises UsageError for those that it cannot have."""
    content = {
        "training": charter.training.model_dump(),
        "privacy": charter.privacy.model_dump(),
    }
    for name, value in parameters.items():
        section, _, key = name.partition(".")
        content[section][key] = value
    try:
        training = TrainingTerms.model_validate(content["training"])
        privacy = PrivacyTerms.model_validate(content["privacy"])
    except ValidationError as error:
        raise UsageError(f"parameters: {dict(parameters)}: {describe(error)}") from error
    return charter.model_copy(update={"training": training, "privacy": privacy})


def event(charter: Charter, site: str) -> Event:
    """What one trial does to the records of `site`: all rounds of the charter, as it would book them.

    Raises PrivacyError for a charter whose event does not cover a trial.
    """
    plan = charter.plan(site)
    reason = _unfit(plan)
    if reason:
        raise PrivacyError(f"charter {charter.study}: {reason}; no search of it has an event here")
    return replace(plan.event, steps=plan.steps * charter.training.rounds)


def _unfit(plan: TrainingPlan) -> str:
    if not plan.private:
        return "privacy.mechanism is none, which no ε bounds"
    if plan.noise != "local":
        return "secure_aggregation.noise is distributed: noise that a site adds alone is not enough"
    if plan.bands != 1:
        return f"privacy.bands is {plan.bands}: a score has no noise that is correlated like that"
    if plan.adaptive is not None:
        return "privacy.adaptive_clipping: a part of the noise is for counts that a score has not"
    return ""


def trial_plan(charter: Charter, site: str) -> TrainingPlan:
    """A round of a trial: the charter's, but that fewer units are expected."""
    plan = charter.plan(site)
    return replace(plan, expected_batch=plan.expected_batch * TRAINED_SHARE)


def study(terms: SiteSearch, charter: Charter) -> str:
    """The digest under which this search of this charter is booked. More trials make no other one."""
    asked = json.dumps(terms.model_dump(mode="json", exclude={"trials"}), sort_keys=True)
    content = {"charter": charter.digest, "search": asked}
    return canonical.digest(canonical.encode(content))


def check_epsilon(epsilon: float) -> None:
    """Raises UsageError for a limit that is none."""
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise UsageError(f"--epsilon: it is {epsilon}, and has to be a finite number above 0")
