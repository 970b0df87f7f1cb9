"""Adapters: which low-rank tensors a study trains, exchanges and hands on.

peft makes the layers and reads and writes the files; what is decided here is which of the tensors
move. `ffa-lora` freezes A and trains B, so that the mean of the sites' updates is the update of the
mean and half of the bytes suffice (Sun et al. 2024, "Improving LoRA in Privacy-preserving Federated
Learning"). `lora-xs` freezes the directions on both sides and trains the rank × rank core between
them (Bałazy et al. 2024, "LoRA-XS"): B = U·core. It has far fewer numbers, so far less noise enters
under DP. `lora` trains A and B; `head-only` attaches nothing.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel

from fedward_shared.charter import AdapterTerms
from fedward_shared.errors import CharterError
from fedward_shared.names import A_MARK, B_MARK, OUTPUTS, starts_at_zero, trains
from fedward_shared.tensors import Tensors

# peft asks transformers under a name that is on its way out; nobody here can act on that.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")

CORE = "core.weight"
PEFT_ADAPTER = "default"


class CoreB(nn.Module):
    """The B of `lora-xs`: a trained core of [rank, rank], then fixed directions, [outputs, rank]."""

    def __init__(self, rank: int, outputs: int) -> None:
        super().__init__()
        self.core = nn.Linear(rank, rank, bias=False)
        self.outputs = nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.core.weight)
        nn.init.orthogonal_(self.outputs.weight)

    def forward(self, x_R: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = self.outputs(self.core(x_R))
        return moved

    @property
    def weight(self) -> torch.Tensor:
        """B as LoRA has it, [outputs, rank]."""
        return self.outputs.weight @ self.core.weight


def attach(base: PreTrainedModel, terms: AdapterTerms) -> nn.Module:
    """`base` with the charter's adapter in it, which changes nothing before it is trained.

    Raises CharterError if the model has no such module or layer, or a rank is beyond its width.
    """
    if terms.method == "head-only":
        return cast(nn.Module, base)
    config = LoraConfig(
        r=terms.rank,
        lora_alpha=terms.alpha,  # peft says int but only divides it
        target_modules=list(terms.target_modules),
        layers_to_transform=list(terms.layers),
        lora_dropout=0.0,
        bias="none",
    )
    try:
        model = get_peft_model(base, config)
    except ValueError as error:
        raise CharterError(f"adapter.target_modules, adapter.layers: {error}") from error
    wanted = len(terms.target_modules) * len(terms.layers)
    found = sum(B_MARK in name for name, _ in model.named_parameters())
    if found < wanted:
        raise CharterError(
            f"adapter.target_modules, adapter.layers: {found} of {wanted} modules are in the model"
        )
    _check_rank(model, terms.rank)
    if terms.method == "lora-xs":
        _put_cores(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains(name, terms.method))
    return cast(nn.Module, model)


def _check_rank(model: nn.Module, rank: int) -> None:
    for place, module in model.named_modules():
        if isinstance(module, LoraLayer) and rank > min(_width(module), _width(module, "in")):
            raise CharterError(
                f"adapter.rank is {rank}, {place} has {_width(module, 'in')} inputs and "
                f"{_width(module)} outputs"
            )


def _put_cores(model: nn.Module) -> None:
    for module in list(model.modules()):
        if isinstance(module, LoraLayer):
            outputs, rank = module.lora_B[PEFT_ADAPTER].weight.shape
            module.lora_B[PEFT_ADAPTER] = CoreB(rank, outputs)


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The adapter's tensors under the names that peft gives them in its files."""
    return {
        name.replace(f".{PEFT_ADAPTER}.", "."): parameter
        for name, parameter in model.named_parameters()
        if A_MARK in name or B_MARK in name
    }


def initial(model: nn.Module, seed: int) -> Tensors:
    """Where a study's adapter starts: directions orthonormal, drawn from `seed`, all else zero."""
    generator = torch.Generator().manual_seed(seed)
    tensors: Tensors = {}
    for name, parameter in sorted(adapter_parameters(model).items()):
        if starts_at_zero(name):
            tensors[name] = torch.zeros_like(parameter)
            continue
        rank, width = sorted(parameter.shape)
        gaussian = torch.randn(width, rank, generator=generator, dtype=torch.float64)
        columns = torch.linalg.qr(gaussian).Q.float()
        tensors[name] = (columns.T if A_MARK in name else columns).contiguous()
    return tensors


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
                fits = _width(other) == _width(module)  # grouped keys are fewer than queries
                self._met[f"{place}{B_MARK}{OUTPUTS}"] = other if fits else module
        self.inputs = {name: _zeros(_width(m, "in")) for name, m in self._read.items()}
        self.outputs = {name: _zeros(_width(m)) for name, m in self._met.items()}

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


PARTNERS = {"query": "key", "key": "query", "q_proj": "k_proj", "k_proj": "q_proj"}
"""The module, beside the one named, that its output is multiplied with."""


def _width(module: nn.Module, side: str = "out") -> int:
    return int(getattr(module, f"{side}_features"))


def _zeros(width: int) -> torch.Tensor:
    return torch.zeros(width, width, dtype=torch.float64)


def save_peft(model: nn.Module, folder: Path) -> None:
    """Writes `adapter_config.json` and `adapter_model.safetensors` as plain peft reads them."""
    if not isinstance(model, PeftModel):
        return
    # The folder of the base model is of this machine; which model it was is in the manifest.
    model.peft_config[PEFT_ADAPTER].base_model_name_or_path = None
    model.save_pretrained(
        str(folder),
        safe_serialization=True,
        save_embedding_layers=False,
        state_dict=_plain_lora(model),
    )
    (folder / "README.md").unlink(missing_ok=True)


def _plain_lora(model: PeftModel) -> Tensors:
    """The adapter's tensors as A and B, whatever they are made of."""
    return {
        f"{place}.{part}.{PEFT_ADAPTER}.weight": getattr(module, part)[PEFT_ADAPTER].weight.detach()
        for place, module in model.named_modules()
        if isinstance(module, LoraLayer)
        for part in ("lora_A", "lora_B")
    }
