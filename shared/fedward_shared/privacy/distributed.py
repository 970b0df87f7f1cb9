"""Noise that several sites make together: each adds a share, and only the sum of all is private.

The sum of a site's clipped gradients x, in the units of the ring, becomes integers by one draw of
N_Z(x, r²) a coordinate, and N_Z(0, v) is added: a discrete Gaussian about x itself, so that rounding
does not lengthen what one unit changes (`discrete.py`). What the coordinator learns is the sum over the
sites of a round. With the shares of h honest sites in it, it is as private as one Gaussian mechanism
whose noise has the variance h(v + r²) - t, for a unit's contribution of at most C in length:

- N_Z(a, v) + N_Z(b, w) is N_Z(a + b, v + w) but for a factor between 1 - g and 1 + g on each
  probability, g = 4 exp(-2π² vw / (v + w)) (Peikert 2010, theorem 3.1; for DP Kairouz et al. 2021,
  "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure Aggregation").
- By the same lemma N_Z(x, V), for a real x, is but for such a factor what becomes of N(x, V - t) when
  each coordinate y of it is drawn anew by N_Z(y, t): post-processing of a Gaussian mechanism.

With v ≥ r² and t = r²/2, g is below 1e-26. Over a million coordinates, a hundred sites and ten thousand
steps ε is then off by less than 1e-12: what is calibrated leaves room for more, a millionth of the noise
multiplier. The sum is known modulo the ring, which is post-processing and cannot cost privacy.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fedward_shared.errors import AdapterError, PrivacyError
from fedward_shared.privacy import discrete
from fedward_shared.privacy.discrete import TAIL, Integers, Words

ROUNDING = Fraction(25, 4)
"""r²: the variance that making integers takes."""
SMOOTHING = ROUNDING / 2
"""t: what is not counted, so that the rest can be taken for continuous noise."""
FINE = 4096
"""Steps between two integers: what lies between two of these is cut off before the draw."""
FLOAT32 = 2.0**-22
"""Four roundings of float32, in which gradients are summed, in parts of the largest coordinate."""
MARGIN = 1e-6
"""The part of the noise multiplier that covers what the approximations above leave."""
WASTE = 1.1
"""Of the noise that is booked; what is more is for want of bits, not for privacy."""
FINEST = 4096.0
"""Deviations of a share beyond this, in the ring's units, are of no use."""


@dataclass(frozen=True)
class DistributedNoise:
    """A site's share. `scale` is how many units of the ring the clipping norm is long, `variance` v."""

    scale: float
    variance: int

    @property
    def deviation(self) -> float:
        """Of a share, rounding included, in the ring's units."""
        return math.sqrt(self.variance + ROUNDING)

    @property
    def tail(self) -> int:
        """No share is further from 0 than this."""
        return sum(TAIL * (math.isqrt(math.ceil(v)) + 1) + 2 for v in (ROUNDING, self.variance))

    def multiplier(self, honest: int, coordinates: int, largest: int) -> float:
        """The noise multiplier of the sum if `honest` sites have added their shares."""
        counted = honest * (self.variance + ROUNDING) - SMOOTHING
        return math.sqrt(counted) / _sensitivity(self.scale, coordinates, largest)

    def encode(self, values: NDArray[np.floating], largest: int, randomness: Words) -> Integers:
        """Integers about `values` (one axis, in the ring's units), noise included.

        Values are cut off so that no integer is beyond ±`largest`. Raises AdapterError for NaN.
        """
        if not np.isfinite(values).all():
            raise AdapterError("an update that is to be masked holds NaN or infinity")
        edge = largest - self.tail
        steps = np.floor(np.clip(values.astype(np.float64), -edge, edge) * FINE).astype(np.int64)
        whole, rest = np.divmod(steps, FINE)
        whole += discrete.table(ROUNDING, FINE).draw(rest, randomness)
        whole += discrete.table(Fraction(self.variance)).draw(np.zeros_like(rest), randomness)
        return whole


def calibrated(
    noise_multiplier: float, honest: int, coordinates: int, largest: int, reach: float
) -> DistributedNoise:
    """The finest share with which the sum of `honest` ones has `noise_multiplier`.

    A site's integers are at most `largest`, on either side of 0: enough for its noise, and for
    coordinates of `reach` clipping norms. Raises PrivacyError where they are not.
    """
    if honest < 1 or coordinates < 1 or not (noise_multiplier > 0 and reach > 0):
        raise PrivacyError("noise of several sites needs one that is honest, and something to hide")

    def share(scale: float) -> DistributedNoise:
        longest = _sensitivity(scale, coordinates, largest)
        wanted = noise_multiplier * (1 + MARGIN) * longest
        counted = (Fraction(wanted) ** 2 + SMOOTHING) / honest - ROUNDING
        return DistributedNoise(scale, math.ceil(max(counted, ROUNDING)))

    def fits(scale: float) -> bool:
        found = share(scale)
        room = reach * scale + found.tail <= largest
        return room and found.deviation <= FINEST

    low, high = 0, 1
    while fits(high / 64):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle / 64) else (low, middle)
    found = share(low / 64)
    made = math.sqrt(honest) * found.deviation
    if low == 0 or made > WASTE * noise_multiplier * found.scale:
        raise PrivacyError(
            f"noise of {honest} honest sites does not fit into integers up to {largest} beside "
            f"coordinates of {reach:g} clipping norms: take more bits, or a smaller bound"
        )
    return found


def _sensitivity(scale: float, coordinates: int, largest: int) -> float:
    """What one unit changes at most: the clipping norm, and in each coordinate what is cut off to steps
    of 1/FINE and rounded in float32.
    """
    return scale + (1 / FINE + FLOAT32 * largest) * math.sqrt(coordinates)
