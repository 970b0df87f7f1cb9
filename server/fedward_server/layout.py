"""Where an update's numbers lie: one row of them, its tensors in the order of their names.

That is their order in safetensors bytes, too, so an update that arrives is a row already and needs no
copy. Sums and robust rules see rows alone, piece by piece.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedward_shared import names, tensors
from fedward_shared.errors import AdapterError
from fedward_shared.tensors import Schema, Tensors

Row = NDArray[np.float32]

PIECE = 2**16
"""Numbers that are worked on at once: they and what is made of them fit a core's cache."""

NORM_SLACK = 2.0**-10
"""Norms are added up in single precision; an update at the bound must not be lost to that."""

HEADER_ALIGNMENT = 8


class Layout:
    """The rows of updates with one schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = {name: schema[name] for name in sorted(schema)}
        self.size = sum(math.prod(shape) for shape in schema.values())
        self._header = header(self.schema)

    def row(self, data: bytes | bytearray, origin: str) -> Row:
        """The numbers of safetensors bytes, [D]: read-only, and a view of `data` as sites write it.

        Raises AdapterError unless the bytes hold the tensors of the schema. That the numbers are
        finite is for `check_norm` to see.
        """
        start = len(self._header)
        if len(data) == start + 4 * self.size and data.startswith(self._header):
            return np.frombuffer(data, np.float32, offset=start)
        decoded = tensors.decode(bytes(data), origin)
        tensors.check(decoded, self.schema, origin)
        return self.of(decoded)

    def of(self, values: Tensors) -> Row:
        """The row of tensors with this schema."""
        return np.concatenate([values[name].numpy().ravel() for name in self.schema])

    def at_rank(self, rank: int) -> "Layout":
        """That of an update of this rank, where this one's is the study's."""
        schema = {name: names.at_rank(name, shape, rank) for name, shape in self.schema.items()}
        return self if schema == self.schema else Layout(schema)

    def named(self, row: Row) -> Tensors:
        """The tensors of a row, as views of it or, where that must not be written, of a copy."""
        sizes = [math.prod(shape) for shape in self.schema.values()]
        parts = torch.split(torch.from_numpy(row if row.flags.writeable else row.copy()), sizes)
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.schema.items(), parts, strict=True)
        }


def header(schema: Schema) -> bytes:
    """How the safetensors bytes of float32 tensors begin, up to the first number."""
    entries: dict[str, Any] = {}
    end = 0
    for name in sorted(schema):
        begin, end = end, end + 4 * math.prod(schema[name])
        shape = list(schema[name])
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def pieces(size: int) -> Iterator[slice]:
    """Slices that cover `size` numbers."""
    return (slice(i, min(i + PIECE, size)) for i in range(0, size, PIECE))


def check_norm(row: Row, bound: float, origin: str) -> None:
    """Raises AdapterError unless all is finite and the norm at most `bound`, to a part in a thousand."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = sum(float(row[piece].dot(row[piece])) for piece in pieces(row.size))
    if not norm_fits(squares, bound):
        raise norm_exceeded(row, bound, origin)


def norm_fits(squares: float, bound: float) -> bool:
    """Whether a row with this sum of squares is finite and its norm within `bound`."""
    return math.sqrt(squares) <= bound * (1 + NORM_SLACK)


def norm_exceeded(row: Row, bound: float, origin: str) -> AdapterError:
    """What is to be said of a row that does not fit."""
    if not bool(np.isfinite(row).all()):
        return AdapterError(f"{origin}: it holds NaN or infinity")
    exact = sum(float(np.square(row[piece], dtype=np.float64).sum()) for piece in pieces(row.size))
    return AdapterError(f"{origin}: its norm is {math.sqrt(exact):.3g}, the bound {bound:g}")
