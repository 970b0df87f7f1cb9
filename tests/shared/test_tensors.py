"""Decoders of tensors read foreign bytes: they return tensors or raise AdapterError, nothing else."""

import contextlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared import noted, tensors
from fedward_shared.errors import AdapterError

SAMPLE = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4)}


def test_the_same_tensors_give_the_same_bytes() -> None:
    reordered = {name: SAMPLE[name].clone() for name in ("a", "b")}
    assert tensors.encode(SAMPLE) == tensors.encode(reordered)


def test_tensors_and_note_survive_the_bytes() -> None:
    content, note = noted.decode(tensors.encode(SAMPLE, note="key"), "test")
    assert note == "key"
    assert all(torch.equal(content[name], SAMPLE[name]) for name in SAMPLE)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(AdapterError):
        tensors.decode(data, "foreign")


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_flipped_bytes_are_refused_or_are_tensors(place: int, flip: int) -> None:
    data = bytearray(tensors.encode(SAMPLE))
    data[place % len(data)] ^= flip
    with contextlib.suppress(AdapterError):
        tensors.check(tensors.decode(bytes(data), "foreign"), tensors.schema_of(SAMPLE), "foreign")


@given(st.integers(0, len(tensors.encode(SAMPLE)) - 1))
def test_truncated_bytes_are_refused(length: int) -> None:
    with pytest.raises(AdapterError):
        tensors.decode(tensors.encode(SAMPLE)[:length], "foreign")


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"a": torch.ones(4)}, "b"),
        ({**SAMPLE, "c": torch.ones(1)}, "c"),
        ({**SAMPLE, "a": torch.ones(5)}, "shape"),
        ({**SAMPLE, "a": torch.ones(4, dtype=torch.float64)}, "float64"),
        ({**SAMPLE, "a": torch.tensor([1.0, float("nan"), 0, 0])}, "NaN"),
        ({**SAMPLE, "a": torch.tensor([1.0, float("inf"), 0, 0])}, "infinity"),
    ],
)
def test_what_does_not_fit_the_schema_is_named(broken: tensors.Tensors, named: str) -> None:
    with pytest.raises(AdapterError, match=named):
        tensors.check(broken, tensors.schema_of(SAMPLE), "update")
