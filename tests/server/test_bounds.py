"""The derived bound: honest updates are below it, and not far below."""

import math

import pytest
from conftest import adapter_terms, small_charter

from fedward_server.bounds import update_norm
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import (
    WITHOUT_DP,
    AdaptiveClippingTerms,
    PrivacyTerms,
    TrainingTerms,
)

DIGEST = "sha256:" + "0" * 64
SCHEMA = {"head.weight": (2, 100), "head.bias": (2,), "x.lora_B.default.weight": (8, 8)}
DP = PrivacyTerms(epsilon=8.0, noise_multiplier=2.0, clipping_norm=1.0, sampling_rate=0.5)
NONE = PrivacyTerms(mechanism="none", without_dp=WITHOUT_DP, sampling_rate=0.5)


def charter(privacy: PrivacyTerms, **training: object) -> Charter:
    terms = TrainingTerms.model_validate(
        {"rounds": 2, "local_steps": 4, "learning_rate": 0.5, **training}
    )
    return small_charter(DIGEST, privacy=privacy, training=terms)


def test_it_holds_what_clipped_gradients_and_their_noise_can_reach() -> None:
    terms = charter(DP)
    records = min(p.records for p in terms.participants)
    noise = 2.0 * 2.0 / (0.5 * records) * math.sqrt(202 + 64)  # √steps × σC/L × √d
    bound = update_norm(terms, SCHEMA)
    assert bound is not None
    assert 0.5 * (4 * 1.0 + noise) < bound < 5 * 0.5 * (4 * 1.0 + noise)


@pytest.mark.parametrize(
    ("more", "factor"),
    [({"learning_rate": 5.0}, 10.0), ({"momentum": 0.5}, 2.0)],
)
def test_it_follows_the_terms(more: dict[str, float], factor: float) -> None:
    plain, changed = update_norm(charter(DP), SCHEMA), update_norm(charter(DP, **more), SCHEMA)
    assert plain is not None
    assert changed == pytest.approx(factor * plain, rel=0.1)


def test_without_dp_it_is_what_training_that_works_can_reach() -> None:
    bound = update_norm(charter(NONE, optimizer="adam", learning_rate=1e-3), SCHEMA)
    assert bound == pytest.approx(4e-3 * math.sqrt(10 * 266), rel=0.15)
    slow, fast = (update_norm(charter(NONE, learning_rate=rate), SCHEMA) for rate in (1e-4, 1.0))
    assert slow is not None
    assert fast == pytest.approx(1e4 * slow, rel=0.15)
    assert fast > 4 * 10.0


def test_adaptive_clipping_has_room_to_go_up() -> None:
    adaptive = DP.model_copy(update={"adaptive_clipping": AdaptiveClippingTerms()})
    fixed = update_norm(charter(DP), SCHEMA)
    assert fixed is not None
    assert update_norm(charter(adaptive), SCHEMA) == pytest.approx(10 * fixed, rel=0.1)


def test_it_is_a_number_that_people_can_read() -> None:
    bound = update_norm(charter(DP, learning_rate=0.1234567), SCHEMA)
    assert len(repr(bound)) <= 4


def test_what_hetlora_drops_is_not_bounded_by_a_rounds_steps() -> None:
    participants = charter(DP).participants
    for method, bounded in (("lora", True), ("hetlora", False)):
        terms = small_charter(
            DIGEST,
            privacy=DP,
            adapter=adapter_terms(method),
            training=charter(DP).training,
            participants=participants,
        )
        assert (update_norm(terms, SCHEMA) is not None) == bounded
