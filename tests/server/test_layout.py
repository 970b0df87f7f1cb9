"""Rows: the numbers of an update without a copy, and nothing that is not the charter's."""

import math

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_server.layout import PIECE, Layout, check_norm, header, pieces
from fedward_shared import tensors
from fedward_shared.errors import AdapterError
from fedward_shared.tensors import Schema

shapes = st.lists(st.integers(1, 3), min_size=0, max_size=3).map(tuple)
names = st.text(min_size=1, max_size=8)
schemas = st.dictionaries(names, shapes, min_size=1, max_size=5)


def numbered(schema: Schema) -> dict[str, torch.Tensor]:
    return {
        name: torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape) + 100 * i
        for i, (name, shape) in enumerate(schema.items())
    }


@given(schemas)
def test_a_row_is_a_view_of_the_bytes_and_gives_the_tensors_back(schema: Schema) -> None:
    content = numbered(schema)
    data = tensors.encode(content)
    layout = Layout(schema)
    row = layout.row(data, "test")
    assert np.shares_memory(row, np.frombuffer(data, np.uint8)) == data.startswith(header(schema))
    found = layout.named(row.copy())
    assert found.keys() == content.keys()
    assert all(torch.equal(found[name], content[name]) for name in content)


@pytest.mark.parametrize("schema", [{"a.weight": (3, 2), "b": (4,)}, {"head.bias": (22,)}])
def test_what_sites_write_needs_no_copy(schema: Schema) -> None:
    data = tensors.encode(numbered(schema))
    assert not Layout(schema).row(data, "test").flags.owndata
    assert data.startswith(header(schema))


def test_the_same_tensors_written_otherwise_are_the_same_row() -> None:
    content = numbered({"b": (2,), "a": (3,)})
    noted = safetensors.torch.save(content, metadata={"note": "x"})
    layout = Layout(tensors.schema_of(content))
    plain = layout.row(tensors.encode(content), "test")
    assert layout.row(noted, "test").tobytes() == plain.tobytes()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"a": torch.ones(3), "b": torch.ones(1)}, "not expected"),
        ({"b": torch.ones(2)}, "missing"),
        ({"a": torch.ones(4)}, "has shape"),
        ({"a": torch.ones(3, dtype=torch.float64)}, "float64"),
        ({"a": torch.ones(3, dtype=torch.int32)}, "int32"),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(
    content: dict[str, torch.Tensor], named: str
) -> None:
    with pytest.raises(AdapterError, match=named):
        Layout({"a": (3,)}).row(tensors.encode(content), "update of north")


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(AdapterError):
        Layout({"a": (3,)}).row(data, "test")
    with pytest.raises(AdapterError):
        Layout({"a": (3,)}).row(header({"a": (3,)}) + data[:11], "test")


def test_pieces_cover_a_row_once() -> None:
    for size in (0, 1, PIECE, PIECE + 1, 3 * PIECE):
        covered = [i for piece in pieces(size) for i in (piece.start, piece.stop)]
        assert covered[::2] == [0, *covered[1:-1:2]][: len(covered[::2])]
        assert sum(covered[1::2]) - sum(covered[::2]) == size


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([3.0, 4.01], "its norm is 5.01, the bound 5"),
        ([math.nan, 0.0], "NaN or infinity"),
        ([0.0, -math.inf], "NaN or infinity"),
        ([3e38, 3e38], "its norm is 4.24e\\+38"),
    ],
)
def test_a_row_beyond_the_bound_or_not_finite_is_refused(values: list[float], said: str) -> None:
    with pytest.raises(AdapterError, match=f"update of north: .*{said}"):
        check_norm(np.array(values, np.float32), 5.0, "update of north")


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50))
def test_a_row_at_its_bound_passes(values: list[float]) -> None:
    """The least bound that a charter may have is 10⁻⁶: squares far below it need not be told from 0."""
    row = np.array(values, np.float32)
    check_norm(row, max(1e-6, tensors.norm({"w": torch.from_numpy(row)})), "test")
