"""Where the gradients of trained tensors go: one for each record, or their sum."""

from typing import Any

import torch
from torch import nn

from fedward_client.training.remaking import Remade
from fedward_shared.errors import ModelError


class Gradients:
    """What a backward pass leaves of each trained tensor: `grad_sample` [B, *shape] where gradients are
    wanted `per_record`, and their sum as `grad` where they are not.

    The methods below `backward` are for the layers. They take one gradient each, in the precision of its
    `parameter`, and return what autograd is to have of it. P are the rows of all records.
    """

    def __init__(self, per_record: bool) -> None:
        self._per_record = per_record
        self._records = 0
        self._remade: Remade | None = None

    def backward(self, losses_B: torch.Tensor) -> None:
        """Backpropagates the losses of B records.

        Raises ModelError for a layer of which the rows are not those of B records, in their order.
        """
        self._records = len(losses_B)
        torch.autograd.backward(losses_B.sum())

    def check(self, shape: torch.Size) -> None:
        """Raises ModelError unless what a layer has read, of that shape, is [B, ..., I] or, as a list of
        all rows of B records one after the other, [B·T, I].
        """
        records = max(1, self._records)
        whole = shape[0] % records == 0 if len(shape) == 2 else shape[0] == records
        if self._per_record and not whole:
            raise ModelError(
                f"a trained layer reads {tuple(shape)} of {records} records: their gradients cannot be "
                "told apart"
            )

    def product(
        self,
        parameter: nn.Parameter,
        few_RP: torch.Tensor,
        many_PI: torch.Tensor,
        turned: bool = False,
    ) -> torch.Tensor | None:
        """Of a `parameter` [R, I] the gradient is few·many, of one [I, R], `turned`, the transpose.

        A product of few rows with many columns is several times as fast as the other way round.
        """
        few_RP, many_PI = few_RP.to(parameter.dtype), many_PI.to(parameter.dtype)
        if not self._per_record:
            gradient = few_RP @ many_PI
            return gradient.T if turned else gradient
        few_BRT = few_RP.view(len(few_RP), self._records, -1).transpose(0, 1)
        samples = torch.bmm(few_BRT, self._of_records(many_PI))
        return self._keep(parameter, samples.mT.contiguous() if turned else samples)

    def total(self, parameter: nn.Parameter, grad_PO: torch.Tensor) -> torch.Tensor | None:
        """Of a `parameter` [O] that is added to every row."""
        grad_PO = grad_PO.to(parameter.dtype)
        if not self._per_record:
            return grad_PO.sum(dim=0)
        return self._keep(parameter, self._of_records(grad_PO).sum(dim=1))

    def table(
        self, parameter: nn.Parameter, grad: torch.Tensor, ids: torch.Tensor
    ) -> torch.Tensor | None:
        """Of a `parameter` [N, W] of which the rows `ids` [B, V] are read."""
        count = self._records if self._per_record else 1
        grad_BVW = grad.to(parameter.dtype).reshape(count, -1, grad.shape[-1])
        rows_BVW = ids.reshape(count, -1, 1).expand_as(grad_BVW)
        samples = grad_BVW.new_zeros(count, *parameter.shape).scatter_add_(1, rows_BVW, grad_BVW)
        return self._keep(parameter, samples) if self._per_record else samples[0]

    def _of_records(self, x_PI: torch.Tensor) -> torch.Tensor:
        """[B, T, I]."""
        return x_PI.view(self._records, -1, x_PI.shape[-1])

    def remade(self, x: torch.Tensor) -> Remade | None:
        """x as it can be made again: the same for all layers that read it one after the other."""
        if self._remade is None or not self._remade.makes(x):
            self._remade = Remade.of(x)
        return None if self._remade is None else self._remade.for_another()

    @staticmethod
    def _keep(parameter: Any, samples: torch.Tensor) -> None:
        """A layer that is passed twice has the sum of both."""
        kept = getattr(parameter, "grad_sample", None)
        parameter.grad_sample = samples if kept is None else kept.add_(samples)
