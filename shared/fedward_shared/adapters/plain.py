"""The adapter as plain peft reads it, whatever it was trained as."""

from pathlib import Path

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn

from fedward_shared import names
from fedward_shared.adapters.layers import PEFT_ADAPTER, RESTING
from fedward_shared.tensors import Tensors

NEGLIGIBLE = 1e-7
"""Singular values below this part of the largest are rounding."""


def save_peft(model: nn.Module, folder: Path) -> None:
    """Writes `adapter_config.json` and `adapter_model.safetensors` as plain peft reads them.

    Where frozen weights have moved, the adapter gets the rank that says it all.
    """
    if not isinstance(model, PeftModel):
        return
    config = model.peft_config[PEFT_ADAPTER]
    # The folder of the base model is of this machine; which model it was is in the manifest.
    config.base_model_name_or_path = None
    written = {}
    if not config.is_prompt_learning:
        tensors = _plain_lora(model)
        written = {"state_dict": tensors}
        rank = max(t.shape[0] for n, t in tensors.items() if names.A_MARK in n)
        scale, before = config.lora_alpha / config.r, (config.r, config.lora_alpha)
        config.r, config.lora_alpha = rank, scale * rank
    try:
        model.save_pretrained(
            str(folder), safe_serialization=True, save_embedding_layers=False, **written
        )
    finally:
        if written:
            config.r, config.lora_alpha = before
    (folder / "README.md").unlink(missing_ok=True)


@torch.no_grad()
def _plain_lora(model: PeftModel) -> Tensors:
    """The adapter's tensors as A and B, whatever they are made of."""
    layers = {n: module for n, module in model.named_modules() if isinstance(module, LoraLayer)}
    found = {place: _factors(module) for place, module in layers.items()}
    rank = max(a_RI.shape[0] for a_RI, _ in found.values())
    tensors: Tensors = {}
    for place, (a_RI, b_OR) in found.items():
        more = rank - a_RI.shape[0]
        tensors[f"{place}.lora_A.{PEFT_ADAPTER}.weight"] = nn.functional.pad(a_RI, (0, 0, 0, more))
        tensors[f"{place}.lora_B.{PEFT_ADAPTER}.weight"] = nn.functional.pad(b_OR, (0, more))
    return tensors


def _factors(module: LoraLayer) -> tuple[torch.Tensor, torch.Tensor]:
    a_RI = module.lora_A[PEFT_ADAPTER].weight.detach()
    b_OR = module.lora_B[PEFT_ADAPTER].weight.detach()
    if not hasattr(module, RESTING):
        return a_RI, b_OR
    whole_OI = module.get_buffer(names.MOVED[1:]).double() + b_OR.double() @ a_RI.double()
    u_OK, s_K, vt_KI = torch.linalg.svd(whole_OI, full_matrices=False)
    rank = max(1, int((s_K > NEGLIGIBLE * s_K[0]).sum()))
    root_R = s_K[:rank].sqrt()
    return (root_R[:, None] * vt_KI[:rank]).float(), (u_OK[:, :rank] * root_R).float()
