"""The one function that everything which leaves a site passes."""

import torch

from fedward_shared import tensors
from fedward_shared.errors import AdapterError
from fedward_shared.tensors import Schema, Tensors


def clear(update: Tensors, schema: Schema, maximum_norm: float, site: str) -> bytes:
    """The bytes of `update` that may leave.

    Raises AdapterError unless names, shapes and dtypes are the charter's, every number is finite,
    something changed, and the norm is within the charter's bound.
    """
    origin = f"egress of {site}"
    tensors.check(update, schema, origin)
    if not any(bool(torch.count_nonzero(tensor)) for tensor in update.values()):
        raise AdapterError(f"{origin}: the adapter did not change")
    norm = tensors.norm(update)
    if norm > maximum_norm:
        raise AdapterError(f"{origin}: the update's norm is {norm:.3g}, the bound {maximum_norm:g}")
    return tensors.encode(update)
