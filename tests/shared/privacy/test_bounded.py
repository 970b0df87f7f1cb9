"""Rows that are clipped and noised."""

import dp_accounting
import pytest
import torch
from dp_accounting.pld import PLDAccountant

from fedward_shared.privacy import accountant
from fedward_shared.privacy.bounded import BoundedNoise
from fedward_shared.privacy.randomness import Randomness


def test_without_noise_a_row_is_no_longer_than_the_norm_and_a_short_one_stays():
    quiet = BoundedNoise(2.0, 1e-12)
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    found = quiet.rows(rows, Randomness.from_seed(0))
    assert torch.allclose(found, torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0]]), atol=1e-6)
    total = quiet.total(rows, Randomness.from_seed(0))
    assert torch.allclose(total, torch.tensor([1.5, 2.0]), atol=1e-6)


def test_the_noise_is_as_long_as_what_is_booked_says():
    noise = BoundedNoise(0.5, 3.0)
    rows = noise.rows(torch.zeros(4000, 8), Randomness.from_seed(1))
    # One record that is another moves a row by 2C at most.
    assert float(rows.std()) == pytest.approx(2 * 0.5 * 3.0, rel=0.02)
    total = noise.total(torch.zeros(10, 20_000), Randomness.from_seed(2))
    assert float(total.std()) == pytest.approx(2 * 0.5 * 3.0, rel=0.02)
    oracle = PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_ONE)
    # Of deviation 2Cσ, in units of the norm C, as dp-accounting has it for one that is another.
    oracle.compose(dp_accounting.GaussianDpEvent(2 * 3.0), 12)
    found = accountant.epsilon([noise.event(12, "record")], 1e-5)
    assert found == pytest.approx(oracle.get_epsilon(1e-5), rel=0.01)
