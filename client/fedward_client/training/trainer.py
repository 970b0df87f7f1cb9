"""DP-SGD on one site for one round: the plan's sample, Opacus's clipping, the plan's noise."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn

from fedward_shared.charter import TrainingTerms
from fedward_shared.errors import AdapterError
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples

HEAD_MARK = "head."

# The head's input is a constant where no adapter lies below it; its gradient samples are right.
warnings.filterwarnings("ignore", message="Full backward hook is firing")

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

Streams = Callable[[str], Randomness]
"""A stream for each purpose: one samples, one for each tensor makes its noise."""


def train(
    model: StudyModel,
    examples: Examples,
    plan: TrainingPlan,
    terms: TrainingTerms,
    streams: Streams,
    progress: Progress,
) -> None:
    """Trains `model` in place for one round by `plan`.

    Raises AdapterError if a trained tensor is not finite afterwards.
    """
    trained = _trained(model)
    optimizer = _optimizer(trained, terms)
    run = _private_steps if plan.private else _plain_steps
    frozen = [p for p in model.parameters() if p.requires_grad and not _among(p, trained)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        for step, _ in enumerate(run(model, examples, plan, optimizer, streams), start=1):
            progress(step, plan.steps)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    for name, tensor in trained.items():
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterError(f"{name} is not finite after training; lower the learning rate")


def _among(parameter: nn.Parameter, trained: dict[str, nn.Parameter]) -> bool:
    return any(parameter is other for other in trained.values())


def _trained(model: StudyModel) -> dict[str, nn.Parameter]:
    return {
        name: tensor
        for name, tensor in model.named_tensors().items()
        if isinstance(tensor, nn.Parameter)
        and tensor.requires_grad
        and (name.startswith(HEAD_MARK) or not model.head_only)
    }


def _optimizer(trained: dict[str, nn.Parameter], terms: TrainingTerms) -> torch.optim.Optimizer:
    head = [p for name, p in trained.items() if name.startswith(HEAD_MARK)]
    adapter = [p for name, p in trained.items() if not name.startswith(HEAD_MARK)]
    groups = [
        {"params": params, "lr": rate}
        for params, rate in (
            (head, terms.head_learning_rate or terms.learning_rate),
            (adapter, terms.learning_rate),
        )
        if params
    ]
    if terms.optimizer == "adam":
        return torch.optim.Adam(groups)
    return torch.optim.SGD(groups, momentum=terms.momentum)


def _private_steps(
    model: StudyModel,
    examples: Examples,
    plan: TrainingPlan,
    optimizer: torch.optim.Optimizer,
    streams: Streams,
) -> Iterator[None]:
    hooked = GradSampleModule(model, loss_reduction="mean")
    private = PlanOptimizer(optimizer, plan, _noises(model, optimizer, streams))
    layers = [m for m in model.modules() if any(p.requires_grad for p in m.parameters(False))]
    try:
        # Opacus watches layers in training mode only; the rest stays as it is, without dropout.
        for layer in layers:
            layer.training = True
        for indices in plan.batches(len(examples), streams("sample")):
            pieces = list(examples.micro_batches(indices)) or [indices]
            for number, piece in enumerate(pieces, start=1):
                if len(piece):
                    hooked(examples.batch(piece)).mean().backward()
                else:
                    _no_gradients(private)
                private.signal_skip_step(do_skip=number < len(pieces))
                private.step()
                private.zero_grad()
            yield
    finally:
        hooked.to_standard_module()
        model.eval()


def _noises(
    model: StudyModel, optimizer: torch.optim.Optimizer, streams: Streams
) -> list[Randomness]:
    """A stream for each tensor that `optimizer` moves, in its order."""
    names = {id(tensor): name for name, tensor in model.named_tensors().items()}
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [streams(f"noise {names[id(parameter)]}") for parameter in moved]


def _no_gradients(optimizer: "PlanOptimizer") -> None:
    """An empty sample: no per-sample gradients, but the noisy step is taken all the same."""
    for parameter in optimizer.params:
        parameter.grad_sample = torch.zeros(0, *parameter.shape)


def _plain_steps(
    model: StudyModel,
    examples: Examples,
    plan: TrainingPlan,
    optimizer: torch.optim.Optimizer,
    streams: Streams,
) -> Iterator[None]:
    for indices in plan.batches(len(examples), streams("sample")):
        optimizer.zero_grad()
        for piece in examples.micro_batches(indices):
            (model(examples.batch(piece)).sum() / plan.expected_batch).backward()
        optimizer.step()
        yield


class PlanOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no types
    """Opacus's optimiser with clipping norm, σ and batch size of a plan and noise of our streams."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, plan: TrainingPlan, noises: Sequence[Randomness]
    ) -> None:
        # The expected batch size only divides, so it need not be whole; Opacus says int.
        expected: Any = plan.expected_batch
        super().__init__(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.clipping_norm,
            expected_batch_size=expected,
            loss_reduction="mean",
        )
        self._noises = noises

    def add_noise(self) -> None:
        """Sum of clipped gradients + σ·C·N(0, I)."""
        deviation = self.noise_multiplier * self.max_grad_norm
        for parameter, stream in zip(self.params, self._noises, strict=True):
            noise = deviation * stream.normal(parameter.shape)
            parameter.grad = (parameter.summed_grad + noise).view_as(parameter)
