"""Tensors that were encoded with a note: what is kept and has to say what it was made of."""

import json

from fedward_shared import tensors
from fedward_shared.tensors import Tensors


def decode(data: bytes, origin: str) -> tuple[Tensors, str]:
    """The tensors and their note, empty for none. Raises AdapterError as `tensors.decode` does."""
    content = tensors.decode(data, origin)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return content, str((header.get("__metadata__") or {}).get("note", ""))
