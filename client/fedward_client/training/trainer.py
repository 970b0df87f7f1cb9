"""DP-SGD on one site for one round: the plan's sample of units, Opacus's clipping, the plan's noise."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from opacus.optimizers import DPOptimizer
from torch import nn

from fedward_client.training.gradients import Gradients
from fedward_client.training.noise import StepNoise
from fedward_client.training.streams import Streams
from fedward_shared.charter_terms import TrainingTerms
from fedward_shared.names import HEAD_MARK
from fedward_shared.privacy.clipping import AdaptiveClipping
from fedward_shared.privacy.matrix import BandedNoise
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tensors import Tensors

if TYPE_CHECKING:
    from fedward_shared.adapters import Averaging
    from fedward_shared.tasks.base import StudyModel
    from fedward_shared.tasks.examples import Examples
    from fedward_shared.tasks.units import Units

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


def train(
    model: "StudyModel",
    examples: "Examples",
    plan: TrainingPlan,
    terms: TrainingTerms,
    streams: Streams,
    progress: Progress,
    norms: dict[str, float] | None = None,
    masks: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> Tensors:
    """Trains `model` in place for one round by `plan`.

    `masks`: 1 for each number of a tensor that may move, 0 for the others; all of a tensor that is not
    named may. What may not move is neither clipped nor noised: it has no part in the mechanism.

    Gives what each tensor changes by where noise is distributed: as the difference of two float32
    tensors a change without noise would have their rounding, which the noise is not calibrated for.

    With adaptive clipping `norms` says where the norm of each part begins, the plan's if it is not
    named; they are moved in place to where the round ends.

    What is sampled and clipped as one is the plan's privacy unit. Raises PrivacyError if that is not the
    record and the examples have no owners, AdapterError if afterwards a tensor is not as it has to be
    after training.
    """
    # peft, which takes two seconds, and of which a party of a vertical study needs nothing.
    from fedward_client.training import aftermath, lora
    from fedward_shared import adapters

    trained = _trained(model)
    before = {name: tensor.detach().clone() for name, tensor in trained.items()}
    parts = _parts(trained, plan, terms)
    for part in parts:
        pull = _pull(part.tensors, terms.proximal, adapters.averaging(model.method))
        part.optimizer.register_step_pre_hook(pull)
        part.optimizer.register_step_pre_hook(_confine(part.tensors, masks))
    private: list[PlanOptimizer] = []
    frozen = [p for p in model.parameters() if p.requires_grad and not _among(p, trained)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        with lora.fused(model, trained, per_record=plan.private) as gradients:
            if plan.private:
                private = [
                    PlanOptimizer(part, plan, terms, streams, len(parts), norms) for part in parts
                ]
                confined = [(trained[name], mask) for name, mask in masks.items()]
                run = _private_steps(model, examples, plan, private, streams, gradients, confined)
            else:
                run = _plain_steps(model, examples, plan, parts, streams, gradients)
            for step, _ in enumerate(run, start=1):
                progress(step, plan.steps)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    aftermath.check(model, trained, before, plan)
    return {name: change for optimizer in private for name, change in optimizer.changes.items()}


def _among(parameter: nn.Parameter, trained: dict[str, nn.Parameter]) -> bool:
    return any(parameter is other for other in trained.values())


def _trained(model: "StudyModel") -> dict[str, nn.Parameter]:
    return {
        name: tensor
        for name, tensor in model.named_tensors().items()
        if isinstance(tensor, nn.Parameter)
        and tensor.requires_grad
        and (name.startswith(HEAD_MARK) or not model.head_only)
    }


@dataclass(frozen=True)
class Part:
    """Tensors that are clipped together, and the optimiser that moves them."""

    name: str
    tensors: dict[str, nn.Parameter]
    clipping_norm: float
    optimizer: torch.optim.Optimizer


def _parts(
    trained: dict[str, nn.Parameter], plan: TrainingPlan, terms: TrainingTerms
) -> list[Part]:
    """Head and adapters, or the one of them that moves in this round."""
    head = {name: p for name, p in trained.items() if name.startswith(HEAD_MARK)}
    adapter = {name: p for name, p in trained.items() if name not in head}
    head_rate = terms.head_learning_rate or terms.learning_rate
    head_norm, adapter_norm = plan.clipping_norms(bool(head), bool(adapter))
    return [
        Part(name, moved, norm, _optimizer(moved, rate, terms))
        for name, moved, norm, rate in (
            ("head", head, head_norm, head_rate),
            ("adapter", adapter, adapter_norm, terms.learning_rate),
        )
        if moved
    ]


def _optimizer(
    moved: dict[str, nn.Parameter], rate: float, terms: TrainingTerms
) -> torch.optim.Optimizer:
    if terms.optimizer == "adam":
        return torch.optim.Adam(moved.values(), lr=rate)
    return torch.optim.SGD(moved.values(), lr=rate, momentum=terms.momentum)


def _pull(
    moved: dict[str, nn.Parameter], strength: float, averaging: "Averaging"
) -> Callable[..., None]:
    """Adds to each step the gradient of strength/2·‖w - w₀‖², w₀ being what the round started from, and
    what the adapter method adds to the loss.

    Both depend on w and w₀ alone, and no record has a part in these that was not noised before: they are
    added to the gradient that is clipped and noised already, and cost no privacy.
    """
    starts = [parameter.detach().clone() for parameter in moved.values()]

    def pull(*_: object) -> None:
        drift = averaging.drift(moved)
        for (name, parameter), start in zip(moved.items(), starts, strict=True):
            assert parameter.grad is not None
            if strength:
                parameter.grad.add_(parameter.detach() - start, alpha=strength)
            if name in drift:
                parameter.grad.add_(drift[name])

    return pull


def _confine(
    moved: dict[str, nn.Parameter], masks: Mapping[str, torch.Tensor]
) -> Callable[..., None]:
    """Takes out of each step what may not move."""

    def confine(*_: object) -> None:
        for name in moved.keys() & masks.keys():
            gradient = moved[name].grad
            assert gradient is not None
            gradient.mul_(masks[name])

    return confine


def _private_steps(
    model: "StudyModel",
    examples: "Examples",
    plan: TrainingPlan,
    private: "list[PlanOptimizer]",
    streams: Streams,
    gradients: Gradients,
    confined: list[tuple[Any, torch.Tensor]],
) -> Iterator[None]:
    moved = [parameter for optimizer in private for parameter in optimizer.params]
    units = _units(examples, plan, streams)
    for sampled in plan.batches(len(units), streams("sample")):
        pieces = list(units.pieces(sampled)) or [sampled]
        for number, piece in enumerate(pieces, start=1):
            _unit_gradients(model, gradients, examples, units, piece, moved)
            for parameter, mask in confined:
                parameter.grad_sample.mul_(mask)
            for optimizer in private:
                optimizer.signal_skip_step(do_skip=number < len(pieces))
                optimizer.step()
                optimizer.zero_grad()
        yield


def _units(examples: "Examples", plan: TrainingPlan, streams: Streams) -> "Units":
    units = examples.units(plan.unit)
    if plan.records_per_unit is None:
        return units
    return units.at_most(plan.records_per_unit, examples.lengths, streams("records"))


def _unit_gradients(
    model: "StudyModel",
    gradients: Gradients,
    examples: "Examples",
    units: "Units",
    piece: np.ndarray,
    moved: list[Any],
) -> None:
    """Gives each tensor as `grad_sample` the gradients of the units in `piece`, [U, ...].

    A unit's gradient is the sum over its records, added up micro-batch after micro-batch, so that one
    with very many records takes time and not memory. Of an empty piece, which an empty sample is, there
    are none; the noisy step is taken all the same.
    """
    records, places = units.records(piece)
    if len(records) == len(piece) > 0:
        gradients.backward(model(examples.batch(records)))
        return
    sums = [torch.zeros(len(piece), *parameter.shape) for parameter in moved]
    place_of = dict(zip(records, places, strict=True))
    for part in examples.micro_batches(records):
        gradients.backward(model(examples.batch(part)))
        rows = torch.tensor([place_of[record] for record in part])
        for parameter, total in zip(moved, sums, strict=True):
            total.index_add_(0, rows, parameter.grad_sample)
            parameter.grad_sample = None
    for parameter, total in zip(moved, sums, strict=True):
        parameter.grad_sample = total


def _plain_steps(
    model: "StudyModel",
    examples: "Examples",
    plan: TrainingPlan,
    parts: list[Part],
    streams: Streams,
    gradients: Gradients,
) -> Iterator[None]:
    units = _units(examples, plan, streams)
    for sampled in plan.batches(len(units), streams("sample")):
        for part in parts:
            part.optimizer.zero_grad()
        for piece in examples.micro_batches(units.records(sampled)[0]):
            gradients.backward(model(examples.batch(piece)) / plan.expected_batch)
        for part in parts:
            part.optimizer.step()
        yield


def _correlated(plan: TrainingPlan, terms: TrainingTerms) -> BandedNoise | None:
    if plan.bands == 1:
        return None
    return BandedNoise(plan.bands, plan.steps, terms.rounds, terms.momentum)


class PlanOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no types
    """Opacus's optimiser for one part of a model, with the plan's noise from our streams.

    A part is clipped to a norm of its own, but every part's sum gets the noise σ·C of the whole, and
    C² is the sum of the squares of the parts' norms: together they are one Gaussian mechanism. Where a
    part's norm moves, its noise moves with it, so that its share of the whole stays.
    """

    def __init__(
        self,
        part: Part,
        plan: TrainingPlan,
        terms: TrainingTerms,
        streams: Streams,
        parts: int,
        norms: dict[str, float] | None = None,
    ) -> None:
        # The expected batch size only divides, so it need not be whole; Opacus says int.
        expected: Any = plan.expected_batch
        self._norms = norms if norms is not None and plan.adaptive else {}
        super().__init__(
            part.optimizer,
            noise_multiplier=plan.gradient_noise * plan.clipping_norm / part.clipping_norm,
            max_grad_norm=self._norms.get(part.name, part.clipping_norm),
            expected_batch_size=expected,
            loss_reduction="mean",
        )
        self.max_grad_norm: float
        self._part, self._plan, self._parts = part, plan, parts
        self._noise = StepNoise(
            [streams(f"noise {name}") for name in part.tensors],
            [parameter.shape for parameter in self.params],
            _correlated(plan, terms),
        )
        self._count_noise = streams(f"count {part.name}") if plan.adaptive else None
        self._count = 0.0
        self.changes: Tensors = {}

    @property
    def accumulated_iterations(self) -> int:
        """1: the sums of a sample's pieces are added, their gradients never stacked."""
        return 1

    def clip_and_accumulate(self) -> None:
        """Adds up the clipped gradients and, for adaptive clipping, who was not clipped."""
        if self._plan.adaptive is not None:
            lengths = [sample.flatten(1).norm(dim=1) for sample in self.grad_samples]
            free = torch.stack(lengths).norm(dim=0) <= self.max_grad_norm
            self._count += float((free.double() - 0.5).sum())
        super().clip_and_accumulate()

    def add_noise(self) -> None:
        """Sum of clipped gradients + σ·C·N(0, I); then the norm moves, for the next step."""
        deviation = self.noise_multiplier * self.max_grad_norm
        for parameter, noise in zip(self.params, self._noise.draw(), strict=True):
            parameter.grad = parameter.summed_grad.add_(noise, alpha=deviation)
        if self._plan.adaptive is not None and self._count_noise is not None:
            self._move(self._plan.adaptive, self._count_noise)

    def scale_grad(self) -> None:
        """Sum over the expected batch; the change that follows from it is kept if it has no noise."""
        super().scale_grad()
        if self._plan.noise == "distributed":
            rate = self.param_groups[0]["lr"]
            tensors = zip(self._part.tensors, self.params, strict=True)
            self.changes = {name: -rate * tensor.grad for name, tensor in tensors}

    def _move(self, adaptive: AdaptiveClipping, stream: Randomness) -> None:
        deviation = adaptive.count_deviation(self._plan.noise_multiplier, self._parts)
        count = self._count + deviation * float(stream.normal((1,)))
        self._count = 0.0
        self.max_grad_norm = adaptive.moved(
            self.max_grad_norm, self._part.clipping_norm, count, self._plan.expected_batch
        )
        self._norms[self._part.name] = self.max_grad_norm
