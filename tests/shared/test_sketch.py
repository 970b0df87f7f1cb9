"""The subspace of a round: the same for everybody, another in each round, and all numbers in the end."""

import math

import pytest
import torch
from conftest import small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared import sketch as sketches
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import AdapterTerms, AggregationTerms
from fedward_shared.sketch import Sketch
from fedward_shared.tensors import Schema

SCHEMA: Schema = {"head.weight": (4, 25), "head.bias": (4,), "x.lora_B.default.weight": (8, 8)}
CHARTER = "sha256:" + "0" * 64


def values(schema: Schema = SCHEMA) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in schema.items()}


@given(st.floats(0.001, 1.0), st.integers(1, 1000))
def test_what_is_taken_is_spread_to_where_it_was(share: float, number: int) -> None:
    sketch, full = Sketch(share, CHARTER, number), values()
    rows = sketch.taken(full)
    assert {name: tuple(row.shape) for name, row in rows.items()} == sketch.schema(SCHEMA)
    back, masks = sketch.spread(rows, SCHEMA), sketch.masks(SCHEMA)
    for name, tensor in full.items():
        assert torch.equal(back[name], tensor * masks[name])
        assert torch.equal(sketch.taken(back)[name], rows[name])
        assert int(masks[name].sum()) == max(1, round(share * math.prod(SCHEMA[name])))


def test_charter_round_and_tensor_draw_apart() -> None:
    schema: Schema = {"a": (1000,), "b": (1000,)}

    def drawn(charter: str, number: int, name: str) -> torch.Tensor:
        return Sketch(0.5, charter, number).masks(schema)[name]

    base = drawn(CHARTER, 1, "a")
    assert torch.equal(base, drawn(CHARTER, 1, "a"))
    for other in (drawn(CHARTER, 2, "a"), drawn("sha256:1", 1, "a"), drawn(CHARTER, 1, "b")):
        assert 150 < int((base * other).sum()) < 350


def test_the_numbers_of_a_release_stay_what_they_are() -> None:
    """Site and coordinator may be of different releases."""
    masks = Sketch(0.25, CHARTER, 7).masks({"a": (4, 5)})
    assert masks["a"].flatten().nonzero().flatten().tolist() == [1, 7, 9, 11, 15]


def test_every_number_has_its_turn() -> None:
    total = sum(Sketch(0.25, CHARTER, n).masks(SCHEMA)["head.weight"] for n in range(1, 41))
    assert isinstance(total, torch.Tensor)
    assert int(total.min()) > 0
    assert float(total.mean()) == pytest.approx(10)


def test_a_charter_sends_what_its_sketch_says() -> None:
    terms = small_charter(CHARTER, adapter=AdapterTerms(method="head-only", sketch=0.25))
    sent = terms.sent(SCHEMA, "north", 1)
    assert sent == {"head.weight": (25,), "head.bias": (1,)}
    assert terms.trained(SCHEMA, "north", 1) == {"head.weight": (4, 25), "head.bias": (4,)}
    assert sketches.of(small_charter(CHARTER), 1) is None


@pytest.mark.parametrize(
    ("method", "aggregation", "why"),
    [
        ("fedex-lora", {}, "only some numbers of the factors"),
        ("hetlora", {}, "only some numbers of the factors"),
        ("lora-xs", {"buffer": 1}, "each round sends other numbers"),
        ("lora-xs", {"late": "next-round"}, "each round sends other numbers"),
    ],
)
def test_what_a_sketch_cannot_go_with_is_refused(
    method: str, aggregation: dict[str, object], why: str
) -> None:
    adapter = {"method": method, "sketch": 0.5, "target_modules": ["query"], "layers": [1]}

    def charter() -> Charter:
        return small_charter(
            CHARTER,
            adapter=AdapterTerms.model_validate(adapter),
            aggregation=AggregationTerms.model_validate({"minimum_cohort": 1, **aggregation}),
        )

    with pytest.raises(ValueError, match=why):
        charter()
