"""What is made again is what was there, and it is held only while somebody is to read it."""

import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import NewGELUActivation
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from fedward_client.training.remaking import Remade


def frozen(layer: nn.Module) -> nn.Module:
    for number, parameter in enumerate(layer.parameters()):
        nn.init.normal_(parameter, mean=float(number))
        parameter.requires_grad_(False)
    return layer


MADE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu,
    "gelu, by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu of GPT-2": NewGELUActivation(),
    "norm": frozen(nn.LayerNorm(8, eps=1e-12)),
    "norm without a bias": frozen(nn.LayerNorm(8, bias=False)),
    "norm alone": nn.LayerNorm(8, elementwise_affine=False),
    "norm of Llama": frozen(LlamaRMSNorm(8)),
    "gate of Llama": lambda x: F.silu(x) * (x + 1),
    "norm, gated": lambda x: F.layer_norm(x, (8,)) * F.silu(x),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_is_made_again_is_what_was_there(kind: str) -> None:
    x = torch.randn(3, 5, 8, requires_grad=True)
    y = MADE[kind](x * 2 + 1)
    remade = Remade.of(y)
    assert remade is not None
    assert remade.makes(y)
    assert not remade.makes(x)
    torch.testing.assert_close(remade.for_another().read(), y, atol=1e-6, rtol=1e-5)


KEPT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "a leaf": lambda x: x,
    "a sum": lambda x: x + 1,
    "a view of an activation": lambda x: F.gelu(x).transpose(0, 1),
    "one of several outputs": lambda x: torch.native_layer_norm(x, (8,), None, None, 1e-5)[1],
    "a product with a constant, of a sum": lambda x: (x + 1) * torch.ones(8),
    "a leaf in a product": lambda x: x * torch.ones(8),
    "a constant": lambda _x: torch.ones(8),
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_cannot_be_made_again_is_kept(kind: str) -> None:
    assert Remade.of(KEPT[kind](torch.randn(3, 5, 8, requires_grad=True))) is None


def test_it_is_made_once_and_dropped_after_its_last_reader() -> None:
    y = F.gelu(torch.randn(3, 8, requires_grad=True))
    remade = Remade.of(y)
    assert remade is not None
    for _ in range(2):
        remade.for_another()
    first = remade.read()
    assert remade.read() is first
    watched = weakref.ref(first)
    del first
    assert watched() is None
