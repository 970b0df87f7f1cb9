"""A small model, its records, and a round of training whose sum a test can compute by hand."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import texts

from fedward_client.training.trainer import train
from fedward_shared import adapters, tasks, tensors
from fedward_shared.charter_terms import AdapterTerms, TaskTerms, TrainingTerms
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples

PLAN = TrainingPlan("dp-sgd", 0.5, 1e-6, 0.05, 1, 7.0, 0.3)
TERMS = TrainingTerms(rounds=1, local_steps=1, learning_rate=1.0)


def model_and_examples(
    folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> tuple[StudyModel, Examples]:
    model = shaken(tasks.build(folder, task, adapter))
    return model, model.prepare(texts(20))


def shaken(model: StudyModel) -> StudyModel:
    """The model with random numbers in every tensor that trains."""
    model.load(adapters.initial(model.body, 0), "initial")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.named_tensors().values():
            if tensor.requires_grad:
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model


def run(
    model: StudyModel,
    examples: Examples,
    plan: TrainingPlan,
    seed: int = 0,
    terms: TrainingTerms = TERMS,
) -> tensors.Tensors:
    """The change that one round makes."""
    before = model.exchanged()
    train(model, examples, plan, terms, partial(Randomness.from_seed, seed), lambda _a, _b: None)
    after = model.exchanged()
    model.load(before, "before")
    return {name: after[name] - before[name] for name in before}


def clipped_sum(
    model: StudyModel, examples: Examples, indices: np.ndarray, bounds: tuple[float, float]
) -> tensors.Tensors:
    """Each record's gradient by plain autograd, head and adapters clipped to `bounds`, and summed."""
    trained = {n: t for n, t in model.named_tensors().items() if t.requires_grad}
    total = {name: torch.zeros_like(t) for name, t in trained.items()}
    for index in indices:
        loss = model(examples.batch(np.array([index]))).sum()
        grads = dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))
        head = {name: grad for name, grad in grads.items() if name.startswith("head.")}
        adapter = {name: grad for name, grad in grads.items() if name not in head}
        for part, bound in zip((head, adapter), bounds, strict=True):
            factor = min(1.0, bound / tensors.norm(part)) if part else 0.0
            for name, grad in part.items():
                total[name] += factor * grad
    return total


EVERY = pytest.mark.parametrize(
    "setup", ["lora-xs", "ffa-lora", "lora", "prefix-tuning"], indirect=True
)
