"""Egress: the charter's tensors leave a site, finite and bounded, or nothing does."""

import math

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_client import egress
from fedward_shared import tensors
from fedward_shared.errors import AdapterError, RefusalCode
from fedward_shared.tensors import Schema, Tensors

SCHEMA: Schema = {"head.weight": (2, 3), "head.bias": (2,)}
BOUND = 10.0


def update(value: float = 0.5) -> Tensors:
    return {"head.weight": torch.full((2, 3), value), "head.bias": torch.full((2,), value)}


def with_one(value: float) -> Tensors:
    """A good update in which a single number is `value`."""
    changed = update()
    changed["head.weight"][1, 2] = value
    return changed


def clear(candidate: Tensors, bound: float = BOUND) -> bytes:
    return egress.clear(tensors.encode(candidate), SCHEMA, bound, "north")


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({**update(), "patient.name": torch.ones(2)}, "patient.name"),
        ({"head.weight": torch.ones(2, 3)}, "head.bias"),
        ({}, "head.bias"),
        ({"weight": torch.ones(2, 3), "head.bias": torch.ones(2)}, "weight"),
        ({**update(), "head.bias": torch.ones(3)}, "head.bias has shape"),
        ({**update(), "head.bias": torch.ones(2, 1)}, "head.bias has shape"),
        ({**update(), "head.weight": torch.ones(3, 2)}, "head.weight has shape"),
        ({**update(), "head.bias": torch.ones(2, dtype=torch.float64)}, "float64"),
        ({**update(), "head.bias": torch.ones(2, dtype=torch.float16)}, "float16"),
        ({**update(), "head.bias": torch.ones(2, dtype=torch.int32)}, "int32"),
        (with_one(math.nan), "head.weight holds NaN or infinity"),
        (with_one(math.inf), "head.weight holds NaN or infinity"),
        (with_one(-math.inf), "head.weight holds NaN or infinity"),
        (with_one(1e30), "norm is 1e\\+30, the bound 10"),
        (update(0.0), "did not change"),
    ],
)
def test_what_may_not_leave_is_named_and_so_is_the_site(broken: Tensors, named: str) -> None:
    with pytest.raises(AdapterError, match=named) as caught:
        clear(broken)
    assert str(caught.value).startswith("egress of north: ")
    assert caught.value.refusal is RefusalCode.ADAPTER


@given(
    st.lists(st.floats(-1.0, 1.0, width=32, allow_subnormal=False), min_size=8, max_size=8).filter(
        any
    )
)
def test_a_good_update_leaves_bit_for_bit(values: list[float]) -> None:
    flat = torch.tensor(values, dtype=torch.float32)
    good = {"head.weight": flat[:6].reshape(2, 3), "head.bias": flat[6:]}
    received = tensors.decode(clear(good), "received")
    assert received.keys() == good.keys()
    assert all(torch.equal(received[name], good[name]) for name in good)


@pytest.mark.parametrize("bare", [update(0.0), update(1e30)])
def test_what_gets_its_noise_later_is_not_held_back_for_what_it_says(bare: Tensors) -> None:
    """A refusal would tell of records that no noise covers yet."""
    data = tensors.encode(bare)
    assert egress.clear(data, SCHEMA, BOUND, "north", noised=False) == data
    for wrong in (with_one(math.nan), {"head.bias": torch.ones(2)}):
        with pytest.raises(AdapterError):
            egress.clear(tensors.encode(wrong), SCHEMA, BOUND, "north", noised=False)


def test_the_bound_is_on_all_tensors_together_and_may_be_reached() -> None:
    exact = {"head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2)}
    exact["head.weight"][0, 0], exact["head.bias"][0] = 3.0, 4.0
    assert clear(exact, bound=5.0)
    with pytest.raises(AdapterError, match="norm is 5"):
        clear(exact, bound=4.999)


def test_a_change_of_one_number_in_one_tensor_is_a_change() -> None:
    small = update(0.0)
    small["head.bias"][1] = 1e-20
    assert torch.equal(tensors.decode(clear(small), "received")["head.bias"], small["head.bias"])


def test_views_of_larger_tensors_carry_nothing_else() -> None:
    private = torch.arange(100, dtype=torch.float32).reshape(10, 10)
    views = {"head.weight": private[4:6, 2:5], "head.bias": private[:2, 9]}
    plain = {name: view.clone() for name, view in views.items()}
    assert clear(views, bound=1e4) == clear(plain, bound=1e4)


@pytest.mark.parametrize(
    "smuggled",
    [
        tensors.encode(update(), note="patient 4711"),
        tensors.encode(update()) + b"4711",
        safetensors.torch.save(update(), metadata={"a": "4711"}),
        tensors.encode(update()).replace(b'"F32"', b'"F32" ', 1),
        b"",
        b"no tensors",
    ],
)
def test_nothing_travels_beside_the_tensors(smuggled: bytes) -> None:
    with pytest.raises(AdapterError):
        egress.clear(smuggled, SCHEMA, BOUND, "north")
