"""Answers that may be somebody else's: randomised response (Warner 1965) with any number of choices.

Each record gets its true answer with probability e^ε / (e^ε + K - 1), and else one of the K - 1 others,
all alike. Whatever is seen is at most e^ε times as likely of one record as of another, so that is ε
without δ. At a large ε hardly an answer changes, where Gaussian noise of the same cost would still drown
it: of all that costs ε, nothing tells more about the answers (Kairouz et al. 2016, "Extremal Mechanisms
for Local Differential Privacy").
"""

import math

import numpy as np
from numpy.typing import NDArray

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.privacy.unit import Unit

Answers = NDArray[np.int64]


class RandomizedResponse:
    """One answer of `choices` for each record, at a cost of `epsilon` each.

    Raises PrivacyError for fewer than two choices, and for an ε that is none.
    """

    def __init__(self, choices: int, epsilon: float) -> None:
        if choices < 2:
            raise PrivacyError(f"there are {choices} answers to choose from, expected at least 2")
        if not (epsilon > 0 and math.isfinite(epsilon)):
            raise PrivacyError(f"ε is {epsilon}, expected a finite number above 0")
        self.choices, self.epsilon = choices, epsilon

    @property
    def truth(self) -> float:
        """How likely a true answer is."""
        return 1 / (1 + (self.choices - 1) * math.exp(-self.epsilon))

    def event(self, unit: Unit) -> Event:
        """What a ledger books for one answer of each record."""
        return Event("randomized-response", 1.0, 1 / self.epsilon, 1, unit)

    def answer(self, true_N: Answers, randomness: Randomness) -> Answers:
        """What is released for the answers `true_N`, each from 0 to `choices` - 1."""
        kept_N = randomness.uniform(len(true_N)) < self.truth
        further_N = 1 + np.floor(randomness.uniform(len(true_N)) * (self.choices - 1))
        other_N = (true_N + further_N.astype(np.int64)) % self.choices
        return np.where(kept_N, true_N, other_N)
