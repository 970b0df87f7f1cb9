"""Studies whose sites make the noise together: from the charter to the sum and the ledgers."""

from dataclasses import replace

import pytest
import torch
from simulations.masks import FOUR, bookings

from fedward_server.observer import Observer
from fedward_shared import tensors
from fedward_shared.charter_terms import SecureAggregationTerms
from fedward_shared.masked import MaskedTerms
from fedward_shared.privacy import accountant
from fedward_simulations.consortium import Consortium, Recipe, World


@pytest.fixture
def shared(masked: Recipe) -> Recipe:
    training = masked.training.model_copy(
        update={"rounds": 1, "local_steps": 1, "head_learning_rate": 2.0, "learning_rate": 0.5}
    )
    masks = SecureAggregationTerms(precision=16, noise="distributed")
    return replace(masked, training=training, masks=masks)


def test_the_sum_has_the_noise_that_is_booked_and_no_site_any_of_its_own(
    four: World, shared: Recipe
) -> None:
    """At so small an ε what the adapter becomes is as good as noise alone: of four shares."""
    outcome = Consortium(four, Observer()).run("study", shared, 0.05, four.sites)
    charter = outcome.study.charter
    terms = MaskedTerms(charter, 1, tensors.schema_of(outcome.study.adapter))
    assert terms.noise is not None
    expected = terms.noise.deviation * len(FOUR) ** 0.5 / len(FOUR)
    moved = torch.cat(
        [
            ((tensor - outcome.study.initial[name]) / terms.step(name)).flatten()
            for name, tensor in outcome.study.adapter.items()
        ]
    )
    assert float(moved.square().mean().sqrt()) == pytest.approx(
        expected, rel=4 / (2 * len(moved)) ** 0.5
    )
    honest = charter.aggregation.minimum_cohort - 1
    of_one = terms.noise.deviation / terms.noise.scale
    assert of_one == pytest.approx(charter.privacy.noise_multiplier / honest**0.5, rel=0.02)
    assert bookings(outcome.sites) == [1] * 4
    cost = accountant.epsilon(charter.schedule, charter.privacy.delta)
    assert outcome.epsilon == pytest.approx(cost, abs=1e-4)
