"""A charter's masks: one vector each way, and a mean that is off by less than a step."""

import numpy as np
import torch
from conftest import key_of, small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.charter import (
    AdapterTerms,
    AggregationTerms,
    Charter,
    Participant,
    SecureAggregationTerms,
    TrainingTerms,
)
from fedward_shared.masked import MaskedTerms
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tensors import Tensors

DIGEST = "sha256:" + "0" * 64
SITES = ("east", "north", "south", "west")
SCHEMA = {"head.weight": (2, 3), "body.lora_B.weight": (4,), "head.bias": (2,)}


def charter(**changes: object) -> Charter:
    terms: dict[str, object] = {
        "adapter": AdapterTerms(
            method="ffa-lora", target_modules=("query",), layers=(0,), rank=2, alpha=2.0
        ),
        "aggregation": AggregationTerms(minimum_cohort=3, weights="declared-records"),
        "secure_aggregation": SecureAggregationTerms(precision=12),
        "training": TrainingTerms(
            rounds=3, local_steps=2, learning_rate=1.0, head_learning_rate=3.0, head_rounds=1
        ),
        "participants": tuple(
            Participant(name=name, records=100 * (1 + n), key=key_of(name).public.text)
            for n, name in enumerate(SITES)
        ),
    }
    return small_charter(DIGEST, **(terms | changes))


def updates(seed: int, scale: float) -> dict[str, Tensors]:
    generator = torch.Generator().manual_seed(seed)
    return {
        site: {
            name: scale * (2 * torch.rand(shape, generator=generator) - 1)
            for name, shape in SCHEMA.items()
        }
        for site in SITES
    }


@given(st.integers(0, 10**6), st.sampled_from(["equal", "declared-records"]), st.integers(1, 3))
def test_the_sum_of_the_vectors_is_the_weighted_mean_but_for_a_step(
    seed: int, weights: str, number: int
) -> None:
    aggregation = AggregationTerms(minimum_cohort=3, weights=weights)  # type: ignore[arg-type]
    terms = MaskedTerms(charter(aggregation=aggregation), number, SCHEMA)
    sent = updates(seed, min(terms.charter.coordinate_bounds(number)))
    survivors = SITES[:3]
    total = terms.ring.zeros(12)
    for site in survivors:
        vector = terms.encode(sent[site], site, Randomness.from_seed(seed, site))
        total += vector
    found = terms.mean(terms.ring.to_signed(total), survivors)
    share = {site: terms.charter.weight(site) for site in survivors}
    for name, shape in SCHEMA.items():
        mean = sum(share[s] * sent[s][name].double() for s in survivors) / sum(share.values())
        assert tuple(found[name].shape) == shape
        step = terms.quantiser(name).step
        assert float((found[name].double() - mean).abs().max()) <= step * (1 + 1e-5)


def test_a_whole_cohort_at_its_bounds_does_not_overflow() -> None:
    terms = MaskedTerms(charter(), 2, SCHEMA)
    assert terms.ring.bits == 32  # 250 × 2047 is more than 16 bits hold
    for sign in (1, -1):
        top = {name: torch.full(shape, sign * 1e6) for name, shape in SCHEMA.items()}
        vectors = [terms.encode(top, s, Randomness.from_seed(0, s)) for s in SITES]
        mean = terms.mean(terms.ring.to_signed(np.sum(vectors, axis=0, dtype=np.uint32)), SITES)
        for name, tensor in mean.items():
            assert torch.allclose(tensor, torch.tensor(sign * terms.quantiser(name).bound))


def test_equal_weights_of_a_small_cohort_need_sixteen_bits() -> None:
    equal = AggregationTerms(minimum_cohort=3)
    assert MaskedTerms(charter(aggregation=equal), 1, SCHEMA).ring.bits == 16
    ten = SecureAggregationTerms(precision=10)
    assert (
        MaskedTerms(charter(aggregation=equal, secure_aggregation=ten), 1, SCHEMA).ring.bits == 12
    )


def test_head_and_adapters_have_bounds_of_their_own_once_both_move() -> None:
    (first, _), (head, adapter) = (charter().coordinate_bounds(number) for number in (1, 2))
    assert first > head > adapter
