"""The strategy is the best of its kind, and what one unit moves through it is what is booked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.matrix import BandedNoise

NOISES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 30)).flatmap(
    lambda drawn: st.builds(
        BandedNoise,
        st.just(drawn[0]),
        st.just(drawn[0] * drawn[1]),
        st.just(drawn[2]),
        st.sampled_from([0.0, 0.5, 0.9]),
    )
)


@settings(max_examples=40)
@given(NOISES)
def test_columns_have_length_one_and_those_a_unit_is_in_do_not_overlap(noise: BandedNoise) -> None:
    strategy = noise.strategy
    assert np.allclose(np.linalg.norm(strategy, axis=0), 1.0, atol=1e-12)
    ages = np.subtract.outer(np.arange(noise.steps), np.arange(noise.steps))
    assert not strategy[(ages < 0) | (ages >= noise.bands)].any()
    for part in range(noise.bands):
        of_part = strategy[:, part :: noise.bands]
        assert np.allclose(of_part.T @ of_part, np.eye(of_part.shape[1]), atol=1e-12)


@settings(max_examples=40)
@given(NOISES)
def test_no_other_strategy_of_so_many_bands_has_a_smaller_error(noise: BandedNoise) -> None:
    """Over X = CᵀC with ones on its diagonal trace(W·X⁻¹) is convex, so that its least value is where
    the slope X⁻¹WX⁻¹ is 0 on all other entries within the bands.
    """
    inverse = np.linalg.inv(noise.strategy.T @ noise.strategy)
    slope = inverse @ noise.workload @ inverse
    ages = np.abs(np.subtract.outer(np.arange(noise.steps), np.arange(noise.steps)))
    free = slope[(ages > 0) & (ages < noise.bands)]
    assert np.abs(free).max(initial=0.0) <= 5e-3 * np.abs(np.diag(slope)).max()


@settings(max_examples=20)
@given(NOISES)
def test_the_error_is_that_of_the_model_after_each_step(noise: BandedNoise) -> None:
    """By hand: SGD with momentum over all rounds, moved by the noise alone."""
    steps, rounds = noise.steps, noise.rounds
    inverse = np.linalg.inv(noise.strategy)
    model, errors = np.zeros(rounds * steps), []
    for number in range(rounds):
        velocity = np.zeros(rounds * steps)
        for step in range(steps):
            made = np.zeros(rounds * steps)
            made[number * steps : (number + 1) * steps] = inverse[step]
            velocity = noise.momentum * velocity + made
            model = model + velocity
            errors.append((model**2).sum())
    assert noise.error == pytest.approx(np.sqrt(np.mean(errors)), rel=1e-9)


@pytest.mark.parametrize(
    ("noise", "error"),
    [
        (BandedNoise(2, 10, 20), 7.344591043290448),
        (BandedNoise(5, 10, 20), 5.131984676447597),
        (BandedNoise(10, 10, 20), 4.124957146501523),
        (BandedNoise(5, 10, 20, 0.9), 24.26728575005086),
        (BandedNoise(4, 16, 5), 3.661936119796526),
        (BandedNoise(16, 64, 50), 10.967332594281611),
    ],
)
def test_the_error_is_that_of_the_strategy_which_jax_privacy_finds(
    noise: BandedNoise, error: float
) -> None:
    """jax-privacy 2.0, matrix_factorization.dense.optimize with equal_norm, in double precision."""
    assert noise.error == pytest.approx(error, rel=1e-5)


def test_one_band_is_independent_noise() -> None:
    assert np.array_equal(BandedNoise(1, 8, 3).strategy, np.eye(8))
    assert BandedNoise(1, 10, 20).error == pytest.approx(np.sqrt((20 * 10 + 1) / 2))


@pytest.mark.parametrize(
    "fields",
    [(3, 10, 1), (0, 10, 1), (1, 0, 1), (1, 257, 1), (1, 10, 0), (1, 10, 1, 1.0), (20, 10, 1)],
)
def test_numbers_that_describe_no_mechanism_are_refused(fields: tuple[int, ...]) -> None:
    with pytest.raises(PrivacyError):
        BandedNoise(*fields)
