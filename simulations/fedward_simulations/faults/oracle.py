"""What a site's use of its records truly costs, by the accountant of Opacus: other code than fedward's.

Numerical composition of privacy random variables (Gopi, Lee and Wutschitz 2021), which brackets ε.
"""

import warnings
from functools import lru_cache

from opacus.accountants import PRVAccountant

from fedward_simulations.faults.consortium import DELTA, LOCAL_STEPS, SAMPLING_RATE

ERROR = 0.01


@lru_cache(maxsize=256)
def bracket(trainings: int, noise_multiplier: float) -> tuple[float, float]:
    """ε of so many trainings of one site lies between these two, less than 0.03 apart."""
    if not trainings:
        return 0.0, 0.0
    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, SAMPLING_RATE, trainings * LOCAL_STEPS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        upper = float(accountant.get_epsilon(DELTA, eps_error=ERROR))
    # The upper bound is the estimate and ERROR, and a little for δ's own; the truth is as near below.
    return upper - 3 * ERROR, upper
