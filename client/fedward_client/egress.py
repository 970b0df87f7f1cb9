"""The one function that everything which leaves a site passes."""

from fedward_shared import tensors
from fedward_shared.errors import AdapterError
from fedward_shared.tensors import Schema


def clear(
    update: bytes, schema: Schema, maximum_norm: float, site: str, noised: bool = True
) -> bytes:
    """The safetensors of `update`, if they may leave.

    Raises AdapterError unless names, shapes and dtypes are the charter's, every number is finite,
    something changed, the norm is within the charter's bound, and the bytes are the only ones for
    these tensors: nothing else travels with them. What is not `noised` yet, and gets its noise under
    the masks, may be unchanged or long: a refusal would say so of the bare records.
    """
    origin = f"egress of {site}"
    decoded = tensors.arrays(update, origin)
    tensors.check(decoded, schema, origin)
    if tensors.encode(decoded) != update:
        raise AdapterError(f"{origin}: the bytes hold more than the tensors, or in another order")
    if not noised:
        return update
    if not any(array.any() for array in decoded.values()):
        raise AdapterError(f"{origin}: the adapter did not change")
    norm = tensors.norm(decoded)
    if norm > maximum_norm:
        raise AdapterError(f"{origin}: the update's norm is {norm:.3g}, the bound {maximum_norm:g}")
    return update
