"""Who judges a trial, and how: units that were not trained on, through the mechanism that trains.

A trial is one event (q, σ, T) for every unit, whichever side it is on. Which side that is depends on the
unit itself and a secret of the site, on no other unit and no outcome. One that is trained on enters T
times with probability q, is clipped and gets noise σ: DP-SGD. One that is held out enters T sums with
probability q, by a number from 0 to 1, and each sum gets noise of deviation σ: a Gaussian mechanism that
one unit moves by as little, as often, and with the same chance. A unit more or less is on one side
alone, and the other side does to it nothing but to work on what that side has released: the composition
is parallel, and the one event covers the model and its score together.
"""

import hmac
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fedward_client.searching.asked import TRAINED_SHARE
from fedward_shared.charter_terms import TaskTerms
from fedward_shared.errors import ModelError
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.tagging import tag_names
from fedward_shared.tasks.units import Units

TIMES_GUESSING = 2.0


def held_out(key: bytes, names: Sequence[str]) -> np.ndarray:
    """Which units judge and do not train, [N], each by `key` and its own name alone."""
    places = [int.from_bytes(hmac.digest(key, name.encode(), "sha256")[:8]) for name in names]
    return np.array([place >= TRAINED_SHARE * 2**64 for place in places], dtype=bool)


def bound(task: TaskTerms, base_model: Path) -> float:
    """The loss that counts as 1: twice that of guessing among the labels, tags or tokens that there are.

    Of a record with many tokens the loss is the mean of theirs. Raises ModelError where the base model
    does not say how many tokens it knows.
    """
    if task.kind == "text-classification":
        return TIMES_GUESSING * math.log(len(task.labels))
    if task.kind == "token-classification":
        return TIMES_GUESSING * math.log(len(tag_names(task.labels)))
    path = base_model / "config.json"
    try:
        return TIMES_GUESSING * math.log(json.loads(path.read_text("utf-8"))["vocab_size"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{path}: it does not say vocab_size: {error}") from error


@torch.no_grad()
def unit_losses(model: StudyModel, examples: Examples, units: Units, most: float) -> np.ndarray:
    """What each unit contributes, [U] in [0, 1]: the mean over its records of loss / `most`, cut off.

    A loss that is no number counts as 1.
    """
    losses_N = np.ones(len(examples))
    for indices, batch in model.all_batches(examples):
        losses_N[indices] = model(batch).double().numpy() / most
    losses_N = np.clip(np.nan_to_num(losses_N, nan=1.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    records, places = units.records(np.arange(len(units)))
    sums_U = np.bincount(places, losses_N[records], minlength=len(units))
    return np.asarray(sums_U / np.bincount(places, minlength=len(units)))


def noisy_mean(
    losses_U: np.ndarray, plan: TrainingPlan, expected_units: float, randomness: Randomness
) -> float:
    """The mean of `losses_U`, from `plan.steps` Poisson samples and their noise.

    What it is divided by is public: steps × sampling rate × `expected_units`.
    """
    total = sum(
        float(losses_U[sampled].sum()) for sampled in plan.batches(len(losses_U), randomness)
    )
    noise = float(randomness.normal((plan.steps,)).double().sum())
    return (total + plan.noise_multiplier * noise) / _weight(plan, expected_units)


def deviation(plan: TrainingPlan, expected_units: float) -> float:
    """Of the noise in `noisy_mean`, that of sampling not among it."""
    return plan.noise_multiplier * math.sqrt(plan.steps) / _weight(plan, expected_units)


def _weight(plan: TrainingPlan, expected_units: float) -> float:
    return plan.steps * plan.sampling_rate * expected_units
