"""What correlated noise is expected to leave, at one number of records."""

import pytest

from fedward_shared.privacy import accountant
from fedward_shared.privacy.matrix import BandedNoise
from fedward_shared.privacy.plan import Event
from fedward_simulations.bench import correlated


def test_both_are_compared_at_the_same_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlated, "SITES", {50_000: (1_000, 1e-6)})
    monkeypatch.setattr(correlated, "EPSILONS", (8.0,))
    monkeypatch.setattr(correlated, "BANDS", (5,))
    against, over_all = correlated._expected()
    for bands, error in ((1, against.peer), (5, against.ours)):
        assert error is not None
        noise = error / BandedNoise(bands, correlated.STEPS, correlated.ROUNDS).error
        steps = correlated.ROUNDS * correlated.STEPS // bands
        event = Event("poisson-gaussian", 0.02 * bands, noise, steps)
        assert accountant.epsilon([event], 1e-6) == pytest.approx(8.0, rel=0.01)
    assert against.ratio is not None
    assert against.ratio < 0.75
    assert against.holds
    assert over_all.ratio is not None
    assert 1.0 < over_all.ratio < 1.1
