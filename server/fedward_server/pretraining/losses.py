"""What a micro-batch adds to a step's loss, without a float32 copy of its logits."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedward_server.pretraining.architectures import Architecture

IGNORED = -100
"""A label where nothing is predicted."""

_SCORES = 2**24
"""Scores that are in float32 at once: 64 MiB, and as much again for their exponentials."""


class Losses(NamedTuple):
    """Of some rows: summed cross entropy, auxiliary loss (a mean; 0 for most models), right tokens.

    Right ones are counted where nothing is trained; they are 0 while training.
    """

    summed: Tensor
    auxiliary: Tensor | float
    right: Tensor | int


def losses(architecture: Architecture, outputs: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The summed cross entropy over all labels, and the weighted auxiliary loss of the router.

    `outputs`: of `model(**inputs)` without labels; its logits are (…, V), and `labels` (…) are aligned
    with them: each is what the scores at its place are for. The auxiliary loss (0 where there is none)
    is a mean over the micro-batch's tokens: a step weights it by the micro-batch's share.
    """
    logits_NV = outputs.logits.flatten(0, -2)
    rows = max(1, _SCORES // logits_NV.shape[1])
    parts = zip(torch.split(logits_NV, rows), torch.split(labels.flatten(), rows), strict=True)
    summed = torch.stack([_summed(logits_RV, labels_R) for logits_RV, labels_R in parts]).sum()
    auxiliary = getattr(outputs, "aux_loss", None)
    if auxiliary is None or architecture.experts is None:
        return summed, summed.new_zeros(())
    return summed, architecture.experts.balance * auxiliary


def _summed(logits_RV: Tensor, labels_R: Tensor) -> Tensor:
    summed: Tensor = _CrossEntropy.apply(logits_RV, labels_R)  # type: ignore[no-untyped-call]
    return summed


class _CrossEntropy(torch.autograd.Function):
    """Summed, computed in float32; its gradient is made at once, from the same exponentials.

    What is kept for backward is that gradient, in the precision of the logits.
    """

    @staticmethod
    def forward(ctx: Any, logits_RV: Tensor, labels_R: Tensor) -> Tensor:
        known_R1 = (labels_R != IGNORED)[:, None]
        wanted_R1 = labels_R.clamp(min=0)[:, None]
        likely_RV = torch.log_softmax(logits_RV, 1, torch.float32)
        summed = -(likely_RV.gather(1, wanted_R1) * known_R1).sum()
        if ctx.needs_input_grad[0]:
            likely_RV.exp_().scatter_add_(1, wanted_R1, likely_RV.new_full(wanted_R1.shape, -1.0))
            ctx.save_for_backward(likely_RV.to(logits_RV.dtype), known_R1)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient_RV, known_R1 = ctx.saved_tensors
        return gradient_RV.mul_(known_R1 * gradients[0]), None  # nobody goes backward twice
