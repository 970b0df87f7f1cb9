"""A trial: all rounds of a charter with some settings, on this site alone, and a score with noise.

The coordinator's steps between rounds are left out: what one round has come to, the next goes on from.
The model lives in memory, and is gone when its score is there.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fedward_client.core import Offer
from fedward_client.searching import scoring
from fedward_client.searching.asked import TRAINED_SHARE, trial_plan, with_settings
from fedward_client.training.trainer import Progress, train
from fedward_shared import adapters, canonical, records, tasks, tensors
from fedward_shared import sketch as sketches
from fedward_shared.charter import Charter
from fedward_shared.errors import AdapterError, DataError, Interrupted, UsageError
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.searching.search import Parameters, Report, Stopped
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared

Halves = tuple[Examples | None, Examples | None]
"""What is trained on, and what is held out; None for no record."""


def scored(charter: Charter, site: str) -> tuple[TrainingPlan, float]:
    """The plan of a score, of all rounds together, and how many units are expected to be held out."""
    plan = charter.plan(site)
    steps = plan.steps * charter.training.rounds
    return replace(plan, steps=steps), (1 - TRAINED_SHARE) * charter.participant(site).records


class Trials:
    """What a search calls to train. `file` gives the digest that the file of records has to have, when
    it is about to be read; `key` decides who is held out.

    Made before anything is booked. Raises AdapterError or ModelError for a model that cannot be.
    """

    def __init__(
        self,
        offer: Offer,
        file: Callable[[], str],
        key: bytes,
        progress: Progress,
        randomness: Callable[[str], Randomness] = lambda _: Randomness.from_os(),
    ) -> None:
        self._offer, self._file, self._key = offer, file, key
        self._progress, self._randomness = progress, randomness
        self._held_N: np.ndarray | None = None
        self._digest = ""
        self._last: tuple[Examples, Halves] | None = None
        self._model(offer.charter)

    def __call__(self, parameters: Parameters, report: Report) -> float:
        """The loss, in the units of the task, with its noise. Raises Stopped where training diverges."""
        offer = self._offer
        try:
            charter = with_settings(offer.charter, parameters)
            return self._trained(charter, report.number)
        except UsageError as error:
            raise Stopped(f"settings that do not go together: {error}") from error
        except AdapterError as error:
            raise Stopped(f"training diverged: {error}") from error
        except KeyboardInterrupt as error:
            raise Interrupted("the same command goes on with this trial") from error

    def _trained(self, charter: Charter, number: int) -> float:
        offer, training = self._offer, charter.training
        torch.set_num_threads(offer.threads)
        model = self._model(charter)
        plan = trial_plan(charter, offer.site)
        held: Examples | None = None
        for turn in range(1, training.rounds + 1):
            model.enter_round(turn, training)
            examples, held = self._halves(model)
            if examples is None:
                raise DataError(f"{offer.data}: no record is left to train on")
            self._round(model, examples, plan, charter, f"{number} {turn}", turn)
        return self._score(model, held, charter, number)

    def _round(
        self,
        model: StudyModel,
        examples: Examples,
        plan: TrainingPlan,
        charter: Charter,
        label: str,
        turn: int,
    ) -> None:
        sketch, of = sketches.of(charter, turn), plan.steps * charter.training.rounds

        def progress(done: int, _: int) -> None:
            self._progress((turn - 1) * plan.steps + done, of)

        def streams(purpose: str) -> Randomness:
            return self._randomness(f"{label} {purpose}")

        masks = sketch.masks(tensors.schema_of(model.exchanged())) if sketch else {}
        train(model, examples, plan, charter.training, streams, progress, masks=masks)

    def _model(self, charter: Charter) -> StudyModel:
        own = charter.adapter_at(self._offer.site)
        model = tasks.build(self._offer.base_model, charter.task, own)
        initial = tensors.decode(self._offer.initial, "initial tensors")
        model.load(adapters.at_rank(initial, own.rank), "initial tensors")
        return model

    def _score(
        self, model: StudyModel, held: Examples | None, charter: Charter, number: int
    ) -> float:
        plan, expected = scored(charter, self._offer.site)
        most = scoring.bound(charter.task, self._offer.base_model)
        losses_U = np.zeros(0)
        if held is not None:
            units = held.units(plan.unit)
            if plan.records_per_unit is not None:
                drawn = self._randomness(f"{number} judging records")
                units = units.at_most(plan.records_per_unit, held.lengths, drawn)
            losses_U = scoring.unit_losses(model, held, units, most)
        stream = self._randomness(f"{number} score")
        return most * scoring.noisy_mean(losses_U, plan, expected, stream)

    def _halves(self, model: StudyModel) -> Halves:
        offer = self._offer
        held_N = self._held(model)
        examples = prepared(
            model,
            offer.charter.base_model.digest,
            offer.data,
            offer.columns,
            offer.cache,
            offer.owner,
            offer.left_out,
            self._digest,
        )
        if self._last is None or self._last[0] is not examples:
            parts = (_part(examples, np.flatnonzero(side)) for side in (~held_N, held_N))
            self._last = examples, (next(parts), next(parts))
        return self._last[1]

    def _held(self, model: StudyModel) -> np.ndarray:
        """Which records judge: those of a unit all alike. Reads the file once."""
        if self._held_N is None:
            self._digest = self._file()
            names = unit_names(self._offer, self._offer.data, model.roles[0], self._digest)
            self._held_N = scoring.held_out(self._key, names)
        return self._held_N


def unit_names(offer: Offer, path: Path, role: str, digest: str) -> list[str]:
    """Of each record whose it is, or what its text is. Raises DataError, also for another file."""
    content = records.read_bytes(path)
    if canonical.digest(content) != digest:
        raise DataError(f"{path}: changed since it was registered")
    table = records.table(path, content)
    if offer.left_out is not None:
        table = offer.left_out.without(path, table)
    if offer.owner is not None:
        found = records.texts(path, table, offer.owner, "owner")
    else:
        found = records.texts(path, table, offer.columns.get(role, role), role)
    return [records.normalised(name) for name in found]


def _part(examples: Examples, indices: np.ndarray) -> Examples | None:
    return examples.taken(indices) if len(indices) else None
