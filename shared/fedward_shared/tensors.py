"""Named tensors as safetensors bytes, and the schema they have to fit.

The only tensor format on disk and on the wire. A decoder here reads foreign bytes: it is bounded by
`MAX_BYTES` and checks everything against a schema that comes from the charter, never from the bytes.

torch takes a second to import, and what reads a charter has a schema and no tensors: it is imported
where there are some.
"""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from fedward_shared import canonical
from fedward_shared.errors import AdapterError

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
Schema = dict[str, tuple[int, ...]]
"""Tensor name → shape. All tensors are 32-bit floats."""

MAX_BYTES = 2**32


def encode(tensors: Mapping[str, "torch.Tensor"], note: str = "") -> bytes:
    """Safetensors bytes, names sorted: the same tensors and note give the same bytes."""
    from safetensors.torch import save

    return save(
        {name: tensors[name].detach().contiguous().cpu() for name in sorted(tensors)},
        metadata={"note": note} if note else None,
    )


def decode(data: bytes, origin: str) -> Tensors:
    """Tensors of safetensors bytes; `origin` names where they came from in the error.

    Raises AdapterError for bytes that are too many or are no safetensors file.
    """
    return decode_with_note(data, origin)[0]


def decode_with_note(data: bytes, origin: str) -> tuple[Tensors, str]:
    """The tensors and the note they were encoded with. Raises AdapterError as `decode` does."""
    from safetensors.torch import load

    if len(data) > MAX_BYTES:
        raise AdapterError(f"{origin}: {len(data)} bytes of tensors, more than {MAX_BYTES}")
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return tensors, str(header.get("__metadata__", {}).get("note", ""))
    except (SafetensorError, KeyError, ValueError) as error:
        raise AdapterError(f"{origin}: not a safetensors file: {error}") from error


def schema_of(tensors: Mapping[str, "torch.Tensor"]) -> Schema:
    """Name → shape."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check(tensors: Mapping[str, "torch.Tensor"], schema: Schema, origin: str) -> None:
    """Raises AdapterError, naming the tensor, unless names, shapes, dtype fit and all is finite."""
    missing = sorted(schema.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - schema.keys())
    if missing or unknown:
        raise AdapterError(f"{origin}: tensors missing {missing}, not expected {unknown}")
    for name, shape in schema.items():
        tensor = tensors[name]
        if str(tensor.dtype) != "torch.float32":
            raise AdapterError(f"{origin}: {name} is {tensor.dtype}, expected torch.float32")
        if tuple(tensor.shape) != shape:
            raise AdapterError(
                f"{origin}: {name} has shape {tuple(tensor.shape)}, expected {shape}"
            )
        if not bool(tensor.isfinite().all()):
            raise AdapterError(f"{origin}: {name} holds NaN or infinity")


def norm(tensors: Mapping[str, "torch.Tensor"]) -> float:
    """Euclidean norm over all tensors together."""
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors.values()))


def digest(tensors: Mapping[str, "torch.Tensor"]) -> str:
    """Digest of the safetensors bytes."""
    return canonical.digest(encode(tensors))
