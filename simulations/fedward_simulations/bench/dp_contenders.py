"""One step of training the same adapters, by fedward and by those who are measured beside it.

Adapters of rank 8 sit in every linear layer, below a head of 22 labels; a step is forward, backward, for
those with DP clipping and noise, and SGD. A batch has `BATCH_TOKENS` positions, as a site's pieces have.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from fedward_client.training import lora
from fedward_client.training.trainer import Part, PlanOptimizer
from fedward_shared import adapters
from fedward_shared.charter_terms import AdapterTerms, TrainingTerms
from fedward_shared.pretrained import load_encoder
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_simulations.data import base_models

# Opacus's hooks say so of a layer that reads constants, as the first adapted ones do.
warnings.filterwarnings("ignore", message="Full backward hook is firing")

THREADS = 2
LENGTHS = (32, 128, 512)
BATCH_TOKENS = 2048
TOKENS = range(5, 1000)
"""Ids that are drawn from."""
LABELS = 22
RATE = 1e-3

Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids [B, T] and labels [B]."""
Step = Callable[[Batch], None]


@dataclass(frozen=True)
class Subject:
    """A model, and the linear layers in it."""

    name: str
    load: Callable[[], PreTrainedModel]
    modules: tuple[str, ...]
    depth: int


def _llama() -> PreTrainedModel:
    """As wide as SmolLM2-135M, with 8 of its 30 layers, random weights and no vocabulary to predict."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=1000,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=8,
            num_attention_heads=9,
            num_key_value_heads=3,
            use_cache=False,
        )
    )
    model.lm_head = nn.Identity()
    return model


SUBJECTS = {
    "minilm": Subject(
        "MiniLM",
        lambda: load_encoder(base_models.minilm()),
        ("query", "key", "value", "dense"),
        6,
    ),
    "llama": Subject(
        "Llama of SmolLM2's width",
        _llama,
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        8,
    ),
}


class Model(nn.Module):
    """A body with adapters, and a head over the mean of what it gives."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        terms = AdapterTerms(
            method="lora",
            rank=8,
            alpha=8.0,
            target_modules=subject.modules,
            layers=tuple(range(subject.depth)),
        )
        torch.manual_seed(0)
        base = subject.load().eval().requires_grad_(False)
        self.body = adapters.attach(base, terms)
        self.head = nn.Linear(base.config.hidden_size, LABELS)
        for name, tensor in self.body.named_parameters():
            if ".lora_B." in name:
                nn.init.normal_(tensor, std=0.02)
        self.eval()

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Scores of the labels, [B, LABELS]."""
        states_BTD = self.body(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT))[0]
        scores: torch.Tensor = self.head(states_BTD.mean(dim=1))
        return scores

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The tensors that train, by their names."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def batch_of(length: int, records: int | None = None) -> Batch:
    """Random records of `length` tokens, by default as many as make a batch."""
    count = records or BATCH_TOKENS // length
    generator = torch.Generator().manual_seed(length)
    return (
        torch.randint(TOKENS.start, TOKENS.stop, (count, length), generator=generator),
        torch.randint(0, LABELS, (count,), generator=generator),
    )


def _sgd(model: Model) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.trained.values(), lr=RATE)


def _fedward(model: Model, records: int) -> Step:
    plan = TrainingPlan("dp-sgd", 0.5, 1.0, 1.0, 1, float(records), 0.5)
    part = Part("adapter", model.trained, 1.0, _sgd(model))
    terms = TrainingTerms(rounds=1, local_steps=1, learning_rate=RATE)
    optimizer = PlanOptimizer(part, plan, terms, lambda _purpose: Randomness.from_os(), parts=1)

    def step(batch: Batch) -> None:
        with lora.fused(model, model.trained, per_record=True) as gradients:
            gradients.backward(F.cross_entropy(model(batch[0]), batch[1], reduction="none"))
        optimizer.step()
        optimizer.zero_grad()

    return step


def _fused(model: Model, records: int) -> Step:
    optimizer = _sgd(model)

    def step(batch: Batch) -> None:
        with lora.fused(model, model.trained, per_record=False) as gradients:
            losses_B = F.cross_entropy(model(batch[0]), batch[1], reduction="none")
            gradients.backward(losses_B / records)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _peft(model: Model, _records: int) -> Step:
    optimizer = _sgd(model)

    def step(batch: Batch) -> None:
        torch.autograd.backward(F.cross_entropy(model(batch[0]), batch[1]))
        optimizer.step()
        optimizer.zero_grad()

    return step


def _watched(model: Model) -> None:
    """Opacus looks at layers in training mode only."""
    for layer in model.modules():
        layer.training = any(p.requires_grad for p in layer.parameters(recurse=False))


def _hooks(model: Model, records: int) -> Step:
    hooked = GradSampleModule(model)
    _watched(model)
    optimizer = DPOptimizer(
        _sgd(model), noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=records
    )

    def step(batch: Batch) -> None:
        torch.autograd.backward(F.cross_entropy(hooked(batch[0]), batch[1]))
        optimizer.step()
        optimizer.zero_grad()

    return step


def _ghost(model: Model, records: int) -> Step:
    hooked = GradSampleModuleFastGradientClipping(model, use_ghost_clipping=True, max_grad_norm=1.0)
    _watched(model)
    optimizer = DPOptimizerFastGradientClipping(
        _sgd(model), noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=records
    )
    criterion = DPLossFastGradientClipping(hooked, optimizer, nn.CrossEntropyLoss())

    def step(batch: Batch) -> None:
        criterion(hooked(batch[0]), batch[1]).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


OURS = "fedward"
FUSED = "fused, without DP"
PEFT = "peft, without DP"
HOOKS = "Opacus hooks"
GHOST = "Opacus ghost clipping"
_MAKERS = {OURS: _fedward, FUSED: _fused, PEFT: _peft, HOOKS: _hooks, GHOST: _ghost}
CONTENDERS = tuple(_MAKERS)


def contender(name: str, subject: str, records: int) -> Step:
    """One step by the contender `name`, of a model of its own, over batches of `records`."""
    return _MAKERS[name](Model(SUBJECTS[subject]), records)


def norms(subject: str, length: int, by: str) -> torch.Tensor:
    """Length of each record's gradient, [B], by `OURS` or `HOOKS`."""
    model, (ids_BT, labels_B) = Model(SUBJECTS[subject]), batch_of(length)
    loss_of = partial(F.cross_entropy, target=labels_B)
    if by == OURS:
        with lora.fused(model, model.trained, per_record=True) as gradients:
            gradients.backward(loss_of(model(ids_BT), reduction="none"))
    else:
        hooked = GradSampleModule(model, loss_reduction="sum")
        _watched(model)
        torch.autograd.backward(loss_of(hooked(ids_BT), reduction="sum"))
    samples = [p.grad_sample.flatten(1) for p in model.trained.values()]  # type: ignore[attr-defined]
    lengths_B: torch.Tensor = torch.cat(samples, dim=1).norm(dim=1)
    return lengths_B
