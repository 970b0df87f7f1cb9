"""Named tensors as safetensors bytes, and the schema they have to fit.

The only tensor format on disk and on the wire. A decoder here reads foreign bytes: it is bounded by
`MAX_BYTES` and checks everything against a schema that comes from the charter, never from the bytes.

torch takes two seconds to import. What neither trains nor averages has arrays, and does without.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as as_numpy

from fedward_shared import canonical
from fedward_shared.errors import AdapterError

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
Arrays = dict[str, NDArray[Any]]
Either = Mapping[str, "torch.Tensor"] | Mapping[str, NDArray[Any]]
Schema = dict[str, tuple[int, ...]]
"""Tensor name → shape. All tensors are 32-bit floats."""

MAX_BYTES = 2**32


def encode(tensors: Either, note: str = "") -> bytes:
    """Safetensors bytes, names sorted: the same tensors and note give the same bytes."""
    return as_numpy.save(
        {name: np.asarray(_array(tensors[name]), order="C") for name in sorted(tensors)},
        metadata={"note": note} if note else None,
    )


def arrays(data: bytes, origin: str) -> Arrays:
    """Arrays of safetensors bytes; `origin` names where they came from in the error.

    Raises AdapterError for bytes that are too many or are no safetensors file.
    """
    if len(data) > MAX_BYTES:
        raise AdapterError(f"{origin}: {len(data)} bytes of tensors, more than {MAX_BYTES}")
    try:
        return as_numpy.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise AdapterError(f"{origin}: not a safetensors file: {error}") from error


def decode(data: bytes, origin: str) -> Tensors:
    """The same as tensors. Raises AdapterError as `arrays` does."""
    return from_arrays(arrays(data, origin))


def from_arrays(content: Arrays) -> Tensors:
    """Tensors of the same numbers, in the same memory."""
    import torch

    return {name: torch.from_numpy(array) for name, array in content.items()}


def _array(tensor: "torch.Tensor | NDArray[Any]") -> NDArray[Any]:
    return tensor if isinstance(tensor, np.ndarray) else tensor.detach().cpu().numpy()


def schema_of(tensors: Either) -> Schema:
    """Name → shape."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check(tensors: Either, schema: Schema, origin: str) -> None:
    """Raises AdapterError, naming the tensor, unless names, shapes, dtype fit and all is finite."""
    missing = sorted(schema.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - schema.keys())
    if missing or unknown:
        raise AdapterError(f"{origin}: tensors missing {missing}, not expected {unknown}")
    for name, shape in schema.items():
        tensor = tensors[name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype != "float32":
            raise AdapterError(f"{origin}: {name} is {dtype}, expected float32")
        if tuple(tensor.shape) != shape:
            raise AdapterError(
                f"{origin}: {name} has shape {tuple(tensor.shape)}, expected {shape}"
            )
        if not np.isfinite(_array(tensor)).all():
            raise AdapterError(f"{origin}: {name} holds NaN or infinity")


def norm(tensors: Either) -> float:
    """Euclidean norm over all tensors together."""
    doubles = (_array(tensor).astype(np.float64) for tensor in tensors.values())
    return math.sqrt(sum(float(np.square(double).sum()) for double in doubles))


def digest(tensors: Either) -> str:
    """Digest of the safetensors bytes."""
    return canonical.digest(encode(tensors))
