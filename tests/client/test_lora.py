"""Gradients per record: those of Opacus's hooks, of torch.func, and of one record at a time."""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus import GradSampleModule
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.func import functional_call, grad, vmap
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D

from fedward_client.training import lora
from fedward_shared import adapters
from fedward_shared.charter_terms import AdapterTerms
from fedward_shared.errors import ModelError

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TOLERANCE = 1e-5
Samples = dict[str, torch.Tensor]

# Whole models

# Weights that are not small: single precision would not tell differences of 1e-5 from its rounding.
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 2}


def bert() -> PreTrainedModel:
    return BertModel(BertConfig(**SIZES, num_hidden_layers=2), add_pooling_layer=False)


def llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SIZES, num_hidden_layers=2, num_key_value_heads=2))


def mixtral() -> PreTrainedModel:
    return MixtralForCausalLM(MixtralConfig(**SIZES, **EXPERTS, num_hidden_layers=2))


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2)
    )


MODELS: dict[str, tuple[Callable[[], PreTrainedModel], tuple[str, ...]]] = {
    "bert": (bert, ("query", "key", "value", "dense")),
    "llama": (llama, ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")),
    "mixtral": (mixtral, ("q_proj", "k_proj", "v_proj", "o_proj")),
    "gpt2": (gpt2, ("c_attn", "c_proj", "c_fc")),
}


class Classifier(nn.Module):
    """An adapted body, and a head over the mean of what it gives."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, 3)

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """The loss of each record: of class 0, [B]."""
        states_BTD = self.body(input_ids=ids_BT, attention_mask=mask_BT.long())[0]
        weights_BT1 = mask_BT[:, :, None].to(states_BTD.dtype)
        pooled_BD = (states_BTD * weights_BT1).sum(dim=1) / weights_BT1.sum(dim=1)
        return -self.head(pooled_BD).log_softmax(dim=1)[:, 0]


@lru_cache(maxsize=64)
def classifier(kind: str, method: str, rank: int) -> Classifier:
    make, modules = MODELS[kind]
    targets = {"target_modules": () if method == "prefix-tuning" else modules, "layers": (0, 1)}
    terms = AdapterTerms.model_validate(
        {"method": method, "rank": rank, "alpha": 1.5 * rank, **targets}
    )
    torch.manual_seed(0)
    base = make().requires_grad_(False)
    width = base.config.hidden_size if kind == "bert" else base.config.vocab_size
    model = Classifier(adapters.attach(base, terms), width).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_" in name or "prompt_encoder" in name:
                tensor.copy_(torch.randn_like(tensor) / math.sqrt(sum(tensor.shape)))
    return model


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def taken(model: nn.Module) -> Samples:
    """Each `grad_sample`, which is then forgotten."""
    found = {}
    for name, parameter in trained(model).items():
        found[name] = parameter.grad_sample  # type: ignore[attr-defined]
        parameter.grad_sample = parameter.grad = None  # type: ignore[attr-defined]
    return found


def fused_samples(model: nn.Module, *inputs: torch.Tensor) -> Samples:
    with lora.fused(model, trained(model), per_record=True) as gradients:
        gradients.backward(model(*inputs))
    assert all(parameter.grad is None for parameter in model.parameters())
    return taken(model)


def hooked_samples(model: nn.Module, *inputs: torch.Tensor) -> Samples:
    """By Opacus, which watches layers in training mode only."""
    hooked = GradSampleModule(model, loss_reduction="sum")
    for layer in model.modules():
        layer.training = any(p.requires_grad for p in layer.parameters(recurse=False))
    torch.autograd.backward(hooked(*inputs).sum())
    found = {name: sample.clone() for name, sample in taken(model).items()}
    hooked.to_standard_module()
    model.eval()
    return found


def one_by_one(model: nn.Module, *inputs: torch.Tensor) -> Samples:
    """By autograd, a record at a time, through the layers of peft."""
    tensors = trained(model)
    rows = [
        torch.autograd.grad(model(*(t[i : i + 1] for t in inputs)).sum(), list(tensors.values()))
        for i in range(len(inputs[0]))
    ]
    return {
        name: torch.stack(of) for name, of in zip(tensors, zip(*rows, strict=True), strict=True)
    }


def assert_same(found: Samples, expected: Samples) -> None:
    """Norms of all tensors together, and the samples, differ by at most `TOLERANCE` of that norm."""
    assert found.keys() == expected.keys()
    assert found
    flat, wanted = (
        torch.cat([t.flatten(1) for _, t in sorted(s.items())], dim=1) for s in (found, expected)
    )
    norms_B = wanted.norm(dim=1)
    assert bool((norms_B > 0).all())
    assert bool(((flat - wanted).norm(dim=1) <= TOLERANCE * norms_B).all())
    assert bool(((flat.norm(dim=1) - norms_B).abs() <= TOLERANCE * norms_B).all())


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, T] and a mask that leaves at least one position of each record."""
    records, length = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    ids_BT = torch.randint(0, 50, (records, length), generator=generator)
    lengths_B = torch.randint(1, length + 1, (records,), generator=generator)
    return ids_BT, torch.arange(length)[None, :] < lengths_B[:, None]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", MODELS)
@settings(max_examples=12)
@given(
    batch=batches(),
    method=st.sampled_from(["lora", "ffa-lora", "lora-xs"]),
    rank=st.sampled_from([1, 3, 8]),
)
def test_gradients_per_record_are_those_of_opacus_and_of_autograd(
    kind: str, device: str, batch: tuple[torch.Tensor, torch.Tensor], method: str, rank: int
) -> None:
    model = classifier(kind, method, rank).to(device)
    inputs = [tensor.to(device) for tensor in batch]
    found = fused_samples(model, *inputs)
    assert_same(found, hooked_samples(model, *inputs))
    assert_same(found, one_by_one(model, *inputs))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["bert", "llama"])
@settings(max_examples=12)
@given(batch=batches(), rank=st.sampled_from([1, 3]))
def test_a_prefix_has_gradients_per_record(
    kind: str, device: str, batch: tuple[torch.Tensor, torch.Tensor], rank: int
) -> None:
    model = classifier(kind, "prefix-tuning", rank).to(device)
    inputs = [tensor.to(device) for tensor in batch]
    found = fused_samples(model, *inputs)
    assert_same(found, hooked_samples(model, *inputs))
    assert_same(found, one_by_one(model, *inputs))


WITH_PREFIX = [(kind, "prefix-tuning") for kind in ("bert", "llama")]
EVERY = [(kind, method) for kind in MODELS for method in ("lora", "ffa-lora", "lora-xs")]


@pytest.mark.parametrize(("kind", "method"), [*EVERY, *WITH_PREFIX])
def test_the_sum_of_all_gradients_is_the_plain_one(kind: str, method: str) -> None:
    model = classifier(kind, method, 3)
    ids_BT = torch.randint(0, 50, (4, 6), generator=torch.Generator().manual_seed(1))
    inputs = (ids_BT, torch.ones_like(ids_BT))
    torch.autograd.backward(model(*inputs).sum())
    expected = {name: p.grad for name, p in trained(model).items()}
    for parameter in model.parameters():
        parameter.grad = None
    with lora.fused(model, trained(model), per_record=False) as gradients:
        gradients.backward(model(*inputs))
    for name, parameter in trained(model).items():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-4)
        parameter.grad = None


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_computed_is_what_peft_computes(kind: str) -> None:
    model = classifier(kind, "lora", 3)
    ids_BT = torch.randint(0, 50, (4, 6), generator=torch.Generator().manual_seed(2))
    inputs = (ids_BT, torch.ones_like(ids_BT))
    with torch.no_grad():
        before = model(*inputs)
        with lora.fused(model, trained(model), per_record=True):
            within = model(*inputs)
        after = model(*inputs)
    torch.testing.assert_close(within, before, atol=1e-5, rtol=1e-5)
    assert torch.equal(before, after)
    assert not any("forward" in vars(layer) for layer in model.modules())


# Single layers


def layer(
    kind: str, inputs: int, outputs: int, rank: int, bias: bool, dtype: torch.dtype, device: str
) -> nn.Module:
    """An adapted layer by itself, its adapter in the precision that peft gives it."""
    torch.manual_seed(0)
    base = Conv1D(outputs, inputs) if kind == "conv1d" else nn.Linear(inputs, outputs, bias=bias)
    config = LoraConfig(
        r=rank, lora_alpha=5, target_modules=["base"], fan_in_fan_out=kind == "conv1d"
    )
    inner: Any = nn.Sequential(OrderedDict(base=base.to(device, dtype)))
    model = get_peft_model(inner, config).eval()
    for parameter in trained(model).values():
        nn.init.normal_(parameter)
    return model.base_model.model  # type: ignore[no-any-return]


def vmapped(model: nn.Module, x: torch.Tensor, weights: torch.Tensor) -> Samples:
    """By torch.func, of Σ y·weights over each record."""
    frozen = {name: p.detach() for name, p in model.named_parameters()}
    moving = {name: p.detach() for name, p in trained(model).items()}

    def loss(values: Samples, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        y = functional_call(model, {**frozen, **values}, (x[None],))
        return (y[0] * weights).sum()

    found: Samples = vmap(grad(loss), in_dims=(None, 0, 0))(moving, x, weights)
    return found


SHAPES = [(), (4,), (2, 3), (1, 1), (2, 2, 2)]


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60)
@given(
    kind=st.sampled_from(["linear", "conv1d"]),
    records=st.integers(1, 5),
    inner=st.sampled_from(SHAPES),
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 9),
    rank=st.integers(1, 4),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_layer_of_any_shape_has_the_gradients_of_torch_func(
    device: str,
    kind: str,
    records: int,
    inner: tuple[int, ...],
    inputs: int,
    outputs: int,
    rank: int,
    bias: bool,
    seed: int,
) -> None:
    model = layer(kind, inputs, outputs, rank, bias, torch.float64, device)
    model.double()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(records, *inner, inputs, generator=generator, dtype=torch.float64).to(device)
    weights = torch.randn(records, *inner, outputs, generator=generator).double().to(device)
    expected = vmapped(model, x, weights)
    for flat in (False, True):
        seen = (x.reshape(-1, inputs) if flat else x).clone().requires_grad_()
        with lora.fused(model, trained(model), per_record=True) as gradients:
            y = model(seen).reshape(weights.shape)
            gradients.backward((y * weights).flatten(1).sum(dim=1))
        found = taken(model)
        for name, sample in expected.items():
            torch.testing.assert_close(found[name], sample, atol=1e-12, rtol=1e-9)
        (of_x,) = torch.autograd.grad((model(seen).reshape(weights.shape) * weights).sum(), seen)
        torch.testing.assert_close(seen.grad, of_x, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_a_base_in_half_precision_has_gradients_in_the_precision_of_the_adapter(
    kind: str, device: str
) -> None:
    model = layer(kind, 24, 16, 4, True, torch.bfloat16, device)
    assert {p.dtype for p in trained(model).values()} == {torch.float32}
    generator = torch.Generator().manual_seed(0)
    x_BTI = torch.randn(3, 5, 24, generator=generator).to(device)
    weights_BTO = torch.randn(3, 5, 16, generator=generator).to(device)
    half = x_BTI.bfloat16().requires_grad_()
    with lora.fused(model, trained(model), per_record=True) as gradients:
        y = model(half)
        assert y.dtype == torch.bfloat16
        gradients.backward((y * weights_BTO).flatten(1).sum(dim=1))
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16
    found = taken(model)
    expected = vmapped(model.float(), x_BTI, weights_BTO)
    for name, sample in expected.items():
        assert found[name].dtype == torch.float32
        error = (found[name] - sample).flatten(1).norm(dim=1) / sample.flatten(1).norm(dim=1)
        assert float(error.max()) < 0.02  # bfloat16 has eight bits


def test_a_layer_that_is_passed_twice_has_the_sum_of_both() -> None:
    model = layer("linear", 6, 6, 2, True, torch.float64, "cpu").double()

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.inner(self.inner(x).tanh()).flatten(1).sum(dim=1)
            return y

    x_BTI = torch.randn(3, 4, 6, dtype=torch.float64)
    assert_same(fused_samples(Twice(), x_BTI), one_by_one(Twice(), x_BTI))


def test_a_head_has_gradients_per_record_with_and_without_a_bias() -> None:
    for bias in (True, False):
        head = nn.Linear(5, 3, bias=bias)
        model = nn.Sequential(head, nn.Flatten(), nn.LogSoftmax(dim=1))
        x_BTD = torch.randn(4, 2, 5)
        with lora.fused(model, dict(head.named_parameters()), per_record=True) as gradients:
            gradients.backward(model(x_BTD)[:, 0])
        found = taken(model)
        rows = [
            torch.autograd.grad(model(x_BTD[i : i + 1])[:, 0].sum(), list(head.parameters()))
            for i in range(4)
        ]
        for (_name, sample), of in zip(found.items(), zip(*rows, strict=True), strict=True):
            torch.testing.assert_close(sample, torch.stack(of), atol=1e-6, rtol=1e-5)


# What is refused


@pytest.mark.parametrize("shape", [(7, 6), (2, 3, 6), (6, 3, 6)])
def test_rows_that_are_not_of_the_records_are_refused(shape: tuple[int, ...]) -> None:
    model = layer("linear", 6, 2, 2, True, torch.float32, "cpu")
    with (
        pytest.raises(ModelError, match="cannot be told apart"),
        lora.fused(model, trained(model), per_record=True) as gradients,
    ):
        gradients.backward(model(torch.randn(shape)).sum() / 3 * torch.ones(3))
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_trained_tensor_outside_linear_layers_is_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    with pytest.raises(ModelError, match=r"1\.weight"), lora.fused(model, trained(model), True):
        raise AssertionError
