"""Inputs of layers that need not be kept, because autograd keeps what they were made of.

What an adapted layer reads is most often the output of a norm, an activation or a gate. Their own
backward passes keep what went in; to keep what came out for the gradient of A would be to keep all that
twice. It is made again when it is needed, which is cheap where each number depends on few others.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F


class Remade:
    """A tensor that is made again, to rounding, until the backward pass has come below it.

    It is made for the first of its readers and dropped after the last.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._readers = 0
        self._made: torch.Tensor | None = None

    @classmethod
    def of(cls, x: torch.Tensor) -> "Remade | None":
        """None for what was made otherwise than by a norm, an activation or a product of such."""
        return cls(x.grad_fn) if x.output_nr == 0 and _can_be_remade(x.grad_fn) else None

    def makes(self, x: torch.Tensor) -> bool:
        """Whether it is x that is made."""
        return self._node is x.grad_fn and x.output_nr == 0

    def for_another(self) -> "Remade":
        """Itself, for one more reader."""
        self._readers += 1
        return self

    def read(self) -> torch.Tensor:
        """The tensor, once for each reader."""
        made = _remade(self._node) if self._made is None else self._made
        self._readers -= 1
        self._made = made if self._readers > 0 else None
        return made


def _can_be_remade(node: Any) -> bool:
    if node is None or node.name() not in _MAKERS:
        return False
    if node.name() != "MulBackward0":
        return True
    # A factor is kept where the other one has a gradient; else it has to be remade itself.
    kept = (node._saved_self, node._saved_other)
    below = [function for function, _ in node.next_functions]
    return all(k is not None or _can_be_remade(b) for k, b in zip(kept, below, strict=True))


def _remade(node: Any) -> torch.Tensor:
    made: torch.Tensor = _MAKERS[node.name()](node)
    return made


def _activated(node: Any) -> torch.Tensor:
    made: torch.Tensor = F.gelu(node._saved_self, approximate=node._saved_approximate)
    return made


def _normed(node: Any) -> torch.Tensor:
    x: torch.Tensor = node._saved_input.sub(node._saved_result1).mul_(node._saved_result2)
    if node._saved_weight is not None:
        x.mul_(node._saved_weight)
    return x if node._saved_bias is None else x.add_(node._saved_bias)


def _product(node: Any) -> torch.Tensor:
    left, right = (
        _remade(below) if kept is None else kept
        for kept, (below, _) in zip(
            (node._saved_self, node._saved_other), node.next_functions, strict=True
        )
    )
    product: torch.Tensor = left * right
    return product


_MAKERS: dict[str, Callable[[Any], torch.Tensor]] = {
    "GeluBackward0": _activated,
    "NativeLayerNormBackward0": _normed,
    "MulBackward0": _product,
}
