"""What the card says of an ε is what the planner says."""

import pytest

from fedward_client.preparation import card
from fedward_shared import planner


def test_what_an_epsilon_buys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "EPSILONS", (8.0,))
    [cost] = card._costs(1_000, 1e-5)
    plan = planner.plan(1_000, 300, 24 * 0.3, 1e-5, 24, epsilon=8.0)
    assert (cost.noise, cost.of_a_step) == (plan.noise, plan.noise_per_coordinate)
    assert plan.steps == 24
    assert card._costs(99, 1e-5) == []
