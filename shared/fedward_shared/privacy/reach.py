"""How far local training can move one coordinate: what a masked update's numbers have to cover."""

import math

from fedward_shared.privacy.plan import TrainingPlan

DEVIATIONS = 6.0
"""A normal number is further out once in 500 million draws."""


def reach(plan: TrainingPlan, clipping_norm: float, rate: float, momentum: float) -> float:
    """The bound of a coordinate of an update that DP-SGD by `plan` makes with SGD.

    `clipping_norm`: of the part of the model that the coordinate belongs to. The gradient of step k of
    T moves a coordinate `rate` × c_k in all, where c_k = (1 - momentum^(T-k+1)) / (1 - momentum). The
    gradients of a batch of the expected size, all along this one coordinate, are never longer than the
    clipping norm; to that come six deviations of the noise, which is independent from step to step.
    """
    coefficients = [
        (1 - momentum**left) / (1 - momentum) if momentum else 1.0
        for left in range(plan.steps, 0, -1)
    ]
    signal = clipping_norm * math.fsum(coefficients)
    deviation = plan.noise_multiplier * plan.clipping_norm / plan.expected_batch
    noise = deviation * math.sqrt(math.fsum(c * c for c in coefficients))
    return rate * (signal + DEVIATIONS * noise)
