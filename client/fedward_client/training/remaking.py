"""Inputs of layers that need not be kept, because autograd keeps what they were made of.

What an adapted layer reads is most often the output of a norm, an activation or a gate. Their own
backward passes keep what went in, so that keeping what came out, for the gradient of A, would be to keep
all that twice. It is made again when it is needed: that is cheap, as each of its numbers depends on
few others.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F


def remaking(x: torch.Tensor) -> Callable[[], torch.Tensor] | None:
    """How to make x again, to rounding, as long as the backward pass has not come below it.

    None for what was made otherwise than by a norm, an activation or products of such.
    """
    node = x.grad_fn
    return partial(_remade, node) if x.output_nr == 0 and _can_be_remade(node) else None


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
    return F.gelu(node._saved_self, approximate=node._saved_approximate)


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
    return left * right


_MAKERS: dict[str, Callable[[Any], torch.Tensor]] = {
    "GeluBackward0": _activated,
    "NativeLayerNormBackward0": _normed,
    "MulBackward0": _product,
}
