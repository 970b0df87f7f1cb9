"""Where an adapter starts: directions drawn from a seed, or those that public text asks for."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from fedward_shared.adapters.layers import PEFT_ADAPTER, CoreB, adapter_tensors, width
from fedward_shared.names import A_MARK, B_MARK, OUTPUTS, part_of
from fedward_shared.tensors import Tensors

PREFIX_DEVIATION = 0.02
"""Of the keys and values before the text, as transformers draws embeddings."""

PARTNERS = {"query": "key", "key": "query", "q_proj": "k_proj", "k_proj": "q_proj"}
"""The module, beside the one named, that its output is multiplied with."""


def initial(model: nn.Module, seed: int) -> Tensors:
    """Where a study's adapter starts: directions orthonormal, drawn from `seed`, all else zero.

    A prefix is drawn too: one of zeros would take attention away from the text all the same.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: Tensors = {}
    for name, tensor in sorted(adapter_tensors(model).items()):
        match part_of(name):
            case "moved":
                pass  # rests where the base model has it, and the file of the start need not say so
            case "B":
                tensors[name] = torch.zeros_like(tensor)
            case "prefix":
                gaussian = torch.randn(tensor.shape, generator=generator)
                tensors[name] = PREFIX_DEVIATION * gaussian
            case _:
                tensors[name] = _orthonormal(name, tensor.shape, generator)
    return tensors


def _orthonormal(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    rank, wide = sorted(shape)
    gaussian = torch.randn(wide, rank, generator=generator, dtype=torch.float64)
    columns: torch.Tensor = torch.linalg.qr(gaussian).Q.float()
    return (columns.T if A_MARK in name else columns).contiguous()


class Moments:
    """Second moments, at the positions that hold a token, of what surrounds the adapted modules.

    `inputs` has the name of each A: sums of x xᵀ over what its module reads, [inputs, inputs].
    `outputs` has the name of each `outputs.weight`: sums over what the module's output is multiplied
    with, a query with the keys of its record and a key with the queries, each less its mean over
    the record (of another module: over its own output), [outputs, outputs].
    """

    def __init__(self, model: nn.Module) -> None:
        modules = dict(model.named_modules())
        self._read: dict[str, nn.Module] = {}
        self._met: dict[str, nn.Module] = {}
        for place, module in modules.items():
            if not isinstance(module, LoraLayer):
                continue
            self._read[f"{place}{A_MARK}weight"] = module
            if isinstance(module.lora_B[PEFT_ADAPTER], CoreB):
                parent, _, own = place.rpartition(".")
                other: nn.Module = modules.get(f"{parent}.{PARTNERS.get(own, own)}") or module
                fits = width(other) == width(module)  # grouped keys are fewer than queries
                self._met[f"{place}{B_MARK}{OUTPUTS}"] = other if fits else module
        self.inputs = {name: _zeros(width(m, "in")) for name, m in self._read.items()}
        self.outputs = {name: _zeros(width(m)) for name, m in self._met.items()}

    @contextmanager
    def over(self, mask_BT: torch.Tensor) -> Iterator[None]:
        """While this is open, a forward pass over a batch with this mask is added."""
        weights_BT1 = mask_BT[:, :, None].double()

        def read(name: str, x_BTI: torch.Tensor) -> None:
            x_PI = x_BTI[mask_BT].double()
            self.inputs[name] += x_PI.T @ x_PI

        def meet(name: str, y_BTO: torch.Tensor) -> None:
            y_BTO = y_BTO.double()
            mean_B1O = (y_BTO * weights_BT1).sum(1, keepdim=True) / weights_BT1.sum(1, keepdim=True)
            y_PO = (y_BTO - mean_B1O)[mask_BT]
            self.outputs[name] += y_PO.T @ y_PO

        hooks = [
            module.register_forward_pre_hook(lambda _, args, name=name: read(name, args[0]))
            for name, module in self._read.items()
        ] + [
            module.register_forward_hook(lambda _module, _args, y_BTO, name=name: meet(name, y_BTO))
            for name, module in self._met.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _zeros(size: int) -> torch.Tensor:
    return torch.zeros(size, size, dtype=torch.float64)
