"""What a micro-batch adds to a step's loss, without a float32 copy of its logits."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fedward_server.pretraining.architectures import Architecture

IGNORED = -100
"""A label where nothing is predicted."""

_SCORES = 2**24
"""Scores that are in float32 at once: 64 MiB, and as much again for their exponentials."""


def losses(architecture: Architecture, outputs: Any, labels_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The summed cross entropy over all labels, and the weighted auxiliary loss of the router.

    `outputs`: of `model(**inputs)` without labels. `labels_BT` as transformers has them: of a causal
    model those of the tokens themselves, which this shifts. The auxiliary loss (0 where there is
    none) is a mean over the micro-batch's tokens: a step weights it by the micro-batch's share.
    """
    if architecture.objective == "causal":
        labels_BT = F.pad(labels_BT[:, 1:], (0, 1), value=IGNORED)
    logits_NV = outputs.logits.flatten(0, 1)
    rows = max(1, _SCORES // logits_NV.shape[1])
    parts = zip(torch.split(logits_NV, rows), torch.split(labels_BT.flatten(), rows), strict=True)
    summed = torch.stack([_summed(logits_RV, labels_R) for logits_RV, labels_R in parts]).sum()
    auxiliary = getattr(outputs, "aux_loss", None)
    if auxiliary is None or architecture.experts is None:
        return summed, summed.new_zeros(())
    return summed, architecture.experts.balance * auxiliary


def _summed(logits_RV: Tensor, labels_R: Tensor) -> Tensor:
    """Cross entropy in float32; what backward needs of it is computed anew there."""
    summed: Tensor = checkpoint(_cross_entropy, logits_RV, labels_R, use_reentrant=False)
    return summed


def _cross_entropy(logits_RV: Tensor, labels_R: Tensor) -> Tensor:
    return F.cross_entropy(logits_RV.float(), labels_R, ignore_index=IGNORED, reduction="sum")
