"""What random numbers a training draws from. Here, and not with DP-SGD, for who needs no Opacus."""

from collections.abc import Callable

from fedward_shared.privacy.randomness import Randomness

Streams = Callable[[str], Randomness]
"""A stream for each purpose: one samples, one for each tensor makes its noise."""
