"""The adapter in a model: peft's layers, and which of their tensors train.

`lora` trains A and B of every adapted weight W + scale·B·A (Hu et al. 2022). `ffa-lora` freezes A and
trains B, so that the mean of the sites' updates is the update of the mean and half of the bytes suffice
(Sun et al. 2024, "Improving LoRA in Privacy-preserving Federated Learning"). `rolora` trains B in one
round and A in the next (Chen et al. 2024, "Robust Federated Finetuning of LoRA"). `lora-xs` freezes the
directions on both sides and trains the rank × rank core between them (Bałazy et al. 2024, "LoRA-XS"): it
has far fewer numbers, so far less noise enters under DP. `prefix-tuning` trains keys and values that
every layer reads before the text (Li and Liang 2021). `head-only` attaches nothing.
"""

import warnings
from typing import cast

import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from peft.tuners.lora import Linear, LoraLayer
from torch import nn
from transformers import PreTrainedModel

from fedward_shared import names
from fedward_shared.charter_terms import AdapterTerms
from fedward_shared.errors import CharterError
from fedward_shared.names import A_MARK, B_MARK

# peft asks transformers under a name that is on its way out; nobody here can act on that.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
# It sees for itself that GPT-2's linear layers have their weights the other way round.
warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")

PEFT_ADAPTER = "default"
RESTING = "resting"


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
    """`base` with the charter's adapter in it. All but `prefix-tuning` change nothing before they train.

    Raises CharterError if the model has no such module or layer, a rank is beyond its width, or what is
    named is no linear layer. The experts of a mixture and their router are bare tensors.
    """
    if terms.method == "head-only":
        return cast(nn.Module, base)
    model = (
        _with_prefix(base, terms) if terms.method == "prefix-tuning" else _with_lora(base, terms)
    )
    train(model, terms.method, 1)
    return model


def train(model: nn.Module, method: str, turn: int) -> None:
    """Lets the adapter's tensors train that do so in the round `turn` in which adapters move."""
    for name, tensor in adapter_tensors(model).items():
        if isinstance(tensor, nn.Parameter):
            tensor.requires_grad_(names.trains(name, method, turn))


def _with_lora(base: PreTrainedModel, terms: AdapterTerms) -> nn.Module:
    config = LoraConfig(
        r=terms.rank,
        lora_alpha=terms.alpha,  # peft says int but only divides it
        target_modules=list(terms.target_modules),
        layers_to_transform=list(terms.layers),
        layers_pattern="[^.]+",  # whatever holds them, at the very beginning of a name too
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
    _check_linear(model)
    _check_rank(model, terms.rank)
    if terms.method == "lora-xs":
        _put_cores(model)
    if names.METHODS[terms.method].moves_base:
        _let_weights_move(model)
    return cast(nn.Module, model)


def _with_prefix(base: PreTrainedModel, terms: AdapterTerms) -> nn.Module:
    depth = base.config.num_hidden_layers
    if terms.layers != tuple(range(depth)):
        raise CharterError(
            f"adapter.layers: prefix-tuning reaches every layer, so all of 0 to {depth - 1} are named"
        )
    is_decoder = base.get_output_embeddings() is not None
    config = PrefixTuningConfig(
        task_type="CAUSAL_LM" if is_decoder else "FEATURE_EXTRACTION",
        num_virtual_tokens=terms.rank,
    )
    return cast(nn.Module, get_peft_model(base, config))


def _check_linear(model: nn.Module) -> None:
    for place, module in model.named_modules():
        if isinstance(module, LoraLayer) and not isinstance(module, Linear):
            raise CharterError(
                f"adapter.target_modules: {place} is no linear layer, and gradients of single records "
                "could not be had of it"
            )


def _check_rank(model: nn.Module, rank: int) -> None:
    for place, module in model.named_modules():
        if isinstance(module, LoraLayer) and rank > min(width(module), width(module, "in")):
            raise CharterError(
                f"adapter.rank is {rank}, {place} has {width(module, 'in')} inputs and "
                f"{width(module)} outputs"
            )


def _put_cores(model: nn.Module) -> None:
    for module in list(model.modules()):
        if isinstance(module, LoraLayer):
            outputs, rank = module.lora_B[PEFT_ADAPTER].weight.shape
            module.lora_B[PEFT_ADAPTER] = CoreB(rank, outputs)


def _let_weights_move(model: nn.Module) -> None:
    """Gives each adapted weight a change of its own, which `settle` adds to where it rests."""
    for module in list(model.modules()):
        if isinstance(module, LoraLayer):
            weight = module.base_layer.weight
            module.register_buffer(names.MOVED[1:], torch.zeros_like(weight), persistent=False)
            module.register_buffer(RESTING, weight.detach(), persistent=False)


@torch.no_grad()
def settle(model: nn.Module) -> None:
    """Puts the changes of frozen weights, as they have been loaded, into effect."""
    for module in model.modules():
        if isinstance(module, LoraLayer) and hasattr(module, RESTING):
            moved = module.scaling[PEFT_ADAPTER] * module.get_buffer(names.MOVED[1:])
            # Not where it lies: the base's weights are those of other copies of it, too.
            weight = module.get_buffer(RESTING) + moved
            module.base_layer.weight = nn.Parameter(weight, requires_grad=False)


def adapter_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names that peft gives them in its files, and the changes of
    frozen weights."""
    marks = (A_MARK, B_MARK, names.PREFIX_MARK)
    own: dict[str, torch.Tensor] = {
        name.replace(f".{PEFT_ADAPTER}.", "."): parameter
        for name, parameter in model.named_parameters()
        if any(mark in name for mark in marks)
    }
    return own | {n: t for n, t in model.named_buffers() if n.endswith(names.MOVED)}


def width(module: nn.Module, side: str = "out") -> int:
    """How many inputs or outputs the adapted weight has."""
    return int(getattr(module, f"{side}_features"))
