"""A charter's masks: one vector each way, and a mean that is off by less than a step."""

import numpy as np
import pytest
import torch
from conftest import key_of, small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.charter import Charter
from fedward_shared.charter_terms import (
    WITHOUT_DP,
    AdapterTerms,
    AggregationTerms,
    Participant,
    PrivacyTerms,
    SecureAggregationTerms,
    TrainingTerms,
)
from fedward_shared.errors import PrivacyError
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


# Noise that the sites make together

SHARED = SecureAggregationTerms(precision=16, noise="distributed")
ONE_STEP = TrainingTerms(rounds=3, local_steps=1, learning_rate=1.0, head_learning_rate=3.0)


def shared(**changes: object) -> MaskedTerms:
    return MaskedTerms(charter(secure_aggregation=SHARED, training=ONE_STEP, **changes), 2, SCHEMA)


@pytest.mark.parametrize("weights", ["equal", "declared-records"])
def test_a_unit_moves_the_ring_by_no_more_than_the_noise_is_calibrated_for(weights: str) -> None:
    """By hand: rate · norm of its part / expected batch, times the site's weight, in steps."""
    terms = shared(aggregation=AggregationTerms(minimum_cohort=3, weights=weights))
    noise = terms.noise
    assert noise is not None
    longest = []
    for party in terms.charter.participants:
        plan = terms.charter.plan(party.name)
        head, adapter = plan.clipping_norms(head=True, adapter=True)
        weight = terms.charter.weight(party.name)
        moved = [
            rate * norm / plan.expected_batch * weight / terms.step(name)
            for name, rate, norm in (
                ("head.bias", 3.0, head),
                ("body.lora_B.weight", 1.0, adapter),
            )
        ]
        longest.append(float(np.hypot(*moved)))
    assert max(longest) == pytest.approx(noise.scale, rel=1e-12)
    # Booked is what the shares of the honest come to: of a cohort of 3, of which 1 colludes.
    made = noise.multiplier(2, 12, 2**15 - 1)
    assert made >= terms.charter.plan("north").event.noise_multiplier
    assert made == pytest.approx(terms.charter.privacy.noise_multiplier, rel=0.01)


@pytest.mark.parametrize("weights", ["equal", "declared-records"])
def test_the_mean_has_the_noise_of_the_survivors_and_is_true_otherwise(weights: str) -> None:
    terms = shared(aggregation=AggregationTerms(minimum_cohort=3, weights=weights))
    noise = terms.noise
    assert noise is not None
    sent = updates(3, 0.01)
    share = {site: terms.charter.weight(site) for site in SITES}
    errors: dict[str, list[torch.Tensor]] = {name: [] for name in SCHEMA}
    for seed in range(200):
        vectors = [terms.encode(sent[s], s, Randomness.from_seed(seed, s)) for s in SITES]
        total = np.sum(vectors, axis=0, dtype=vectors[0].dtype)
        found = terms.mean(terms.ring.to_signed(total), SITES)
        for name, tensor in found.items():
            mean = sum(share[s] * sent[s][name].double() for s in SITES) / sum(share.values())
            errors[name].append((tensor - mean).flatten())
    for name, seen in errors.items():
        error = torch.cat(seen) / terms.step(name) * sum(share.values())
        expected = noise.deviation * len(SITES) ** 0.5
        count = len(error) ** 0.5
        assert abs(float(error.mean())) < 4 * expected / count
        assert float(error.std()) == pytest.approx(expected, rel=4 / 2**0.5 / count)


def test_a_whole_cohort_at_its_bounds_does_not_overflow_with_its_noise() -> None:
    terms = shared()
    assert terms.ring.bits == 32
    top = {name: torch.full(shape, 1e6) for name, shape in SCHEMA.items()}
    vectors = [terms.encode(top, s, Randomness.from_seed(0, s)) for s in SITES]
    assert all(int(vector.max()) < 2**15 for vector in vectors)
    mean = terms.mean(terms.ring.to_signed(np.sum(vectors, axis=0, dtype=np.uint32)), SITES)
    assert all(bool((tensor > 0).all()) for tensor in mean.values())


def test_a_stated_bound_makes_the_grid_finer() -> None:
    fine = SHARED.model_copy(update={"bound": 0.5})
    terms = MaskedTerms(charter(secure_aggregation=fine, training=ONE_STEP), 2, SCHEMA)
    found, coarse = terms.noise, shared().noise
    assert found is not None
    assert coarse is not None
    assert found.scale > 1.2 * coarse.scale


def test_too_few_bits_for_the_noise_are_refused() -> None:
    few = SHARED.model_copy(update={"precision": 6})
    terms = MaskedTerms(charter(secure_aggregation=few, training=ONE_STEP), 2, SCHEMA)
    with pytest.raises(PrivacyError, match="take more bits"):
        terms.encode(updates(0, 0.1)["north"], "north", Randomness.from_seed(0, "x"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"training": TrainingTerms(rounds=3, local_steps=2, learning_rate=1.0)},
            "one step a round",
        ),
        (
            {"training": ONE_STEP.model_copy(update={"optimizer": "adam"})},
            "nothing has made private",
        ),
        (
            {
                "privacy": PrivacyTerms(
                    epsilon=2.0, noise_multiplier=6.0, sampling_rate=0.1, adaptive_clipping={}
                ),
                "secure_aggregation": SHARED.model_copy(update={"bound": 1.0}),
            },
            "fixed clipping norm",
        ),
        (
            {
                "privacy": PrivacyTerms(mechanism="none", without_dp=WITHOUT_DP, sampling_rate=0.1),
                "secure_aggregation": SHARED.model_copy(update={"bound": 1.0}),
            },
            "only for DP-SGD",
        ),
    ],
)
def test_what_cannot_be_accounted_for_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        charter(**{"secure_aggregation": SHARED, "training": ONE_STEP, **changes})


def test_where_the_clipping_norm_moves_the_bound_has_to_be_stated() -> None:
    moving = PrivacyTerms(
        epsilon=2.0, noise_multiplier=6.0, sampling_rate=0.1, adaptive_clipping={}
    )
    with pytest.raises(ValueError, match="moves the clipping norm"):
        charter(privacy=moving)
    assert charter(privacy=moving, secure_aggregation=SecureAggregationTerms(bound=1.0))
