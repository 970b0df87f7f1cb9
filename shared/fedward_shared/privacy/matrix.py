"""Noise that is correlated over the steps of a round, so that later steps take back some of it
(Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization").

Instead of independent noise z, the steps of a round get C⁻¹z. C is lower triangular, has `bands` bands
and columns of length 1. The units of a site are split into as many parts at random, anew in each round,
and step t samples from part t mod `bands` alone, with `bands` times the sampling rate. What one unit
changes in C·(gradients of all steps) then lies in columns that do not overlap, so that a round costs
what steps / bands steps of DP-SGD cost with that rate (theorem 4 there).

Noise is correlated within a round and not from one to the next: nothing has to be kept at the site that
would undo the noise of earlier rounds if it were seen, and the parts need not outlast a change of the
data.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.plan import CORRELATED_STEPS

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class BandedNoise:
    """The strategy C for rounds of `steps` steps, of which a study has `rounds`.

    Of all with that many bands it makes the mean squared error of the model over all steps of the study
    least, where the steps of a round are made with `momentum`, and rounds are added up.
    """

    bands: int
    steps: int
    rounds: int
    momentum: float = 0.0

    def __post_init__(self) -> None:
        """Raises PrivacyError for numbers that describe no mechanism."""
        if not 1 <= self.steps <= CORRELATED_STEPS:
            raise PrivacyError(f"steps is {self.steps}, expected 1 to {CORRELATED_STEPS}")
        if self.bands < 1 or self.steps % self.bands:
            raise PrivacyError(
                f"bands is {self.bands}, expected a divisor of the {self.steps} steps"
            )
        if self.rounds < 1 or not 0 <= self.momentum < 1:
            raise PrivacyError(
                f"{self.rounds} rounds with momentum {self.momentum}: there are none"
            )

    @cached_property
    def strategy(self) -> Matrix:
        """C [steps, steps]; its columns have length 1."""
        return _strategy(self)

    @property
    def error(self) -> float:
        """Root of the mean squared error of the model over the steps of the study, for noise of 1."""
        inverse = solve_triangular(self.strategy, np.eye(self.steps), lower=True)
        squared = float((self.workload * (inverse @ inverse.T)).sum())
        return math.sqrt(squared / (self.rounds * self.steps))

    @property
    def workload(self) -> Matrix:
        """W [steps, steps]: with independent noise of 1 in a round's steps, of the covariance X in them,
        the squared errors of the model after each step of the study add up to trace(W·X).
        """
        ages = np.arange(self.steps)[:, None] - np.arange(self.steps)[None, :]
        moved = np.tril((1 - self.momentum ** (np.maximum(ages, 0) + 1)) / (1 - self.momentum))
        later = self.steps * self.rounds * (self.rounds - 1) / 2
        found: Matrix = self.rounds * moved.T @ moved + later * np.outer(moved[-1], moved[-1])
        return found


@lru_cache(maxsize=32)
def _strategy(noise: BandedNoise) -> Matrix:
    """By L-BFGS over C with the columns' lengths divided out, from the square root of prefix sums."""
    steps, workload = noise.steps, noise.workload / np.trace(noise.workload)
    ages = np.arange(steps)[:, None] - np.arange(steps)[None, :]
    within = (ages >= 0) & (ages < noise.bands)

    def normalised(entries: NDArray[np.float64]) -> tuple[Matrix, NDArray[np.float64]]:
        raw = np.zeros((steps, steps))
        raw[within] = entries
        lengths = np.linalg.norm(raw, axis=0)
        return raw / lengths, lengths

    def loss(entries: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        strategy, lengths = normalised(entries)
        inverse = solve_triangular(strategy, np.eye(steps), lower=True)
        pulled = inverse.T @ workload @ inverse
        slope = -2 * pulled @ inverse.T
        slope = (slope - strategy * (strategy * slope).sum(axis=0)) / lengths
        return float(np.trace(pulled)), slope[within]

    start = _square_root(steps)[ages[within]]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-13}
    )
    strategy, _ = normalised(found.x)
    strategy.setflags(write=False)
    return strategy


def _square_root(count: int) -> NDArray[np.float64]:
    """The first coefficients of 1/√(1 - x): of the square root of the matrix of prefix sums."""
    k = np.arange(1, count)
    return np.cumprod(np.concatenate([[1.0], (2 * k - 1) / (2 * k)]))
