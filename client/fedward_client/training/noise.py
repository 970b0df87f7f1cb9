"""The noise of a round's steps: independent, or correlated by a strategy with bands."""

from collections import deque
from collections.abc import Sequence

import torch

from fedward_shared.privacy.matrix import BandedNoise
from fedward_shared.privacy.randomness import Randomness


class StepNoise:
    """For each step a tensor of noise of each shape, from a stream of its own.

    Independent noise z has deviation 1. `correlated` by C it becomes y = C⁻¹z, one step after the other:
    y_t is what row t of C·y = z says, with as many earlier y as C has bands below its diagonal.
    """

    def __init__(
        self,
        streams: Sequence[Randomness],
        shapes: Sequence[torch.Size],
        correlated: BandedNoise | None = None,
    ) -> None:
        self._streams = streams
        self._shapes = shapes
        self._rows = iter(correlated.strategy) if correlated else None
        kept = correlated.bands - 1 if correlated else 0
        self._earlier: deque[list[torch.Tensor]] = deque(maxlen=kept)
        self._step = 0

    def draw(self) -> list[torch.Tensor]:
        """The noise of the next step, which is one of the round's."""
        drawn = [
            stream.normal(shape) for stream, shape in zip(self._streams, self._shapes, strict=True)
        ]
        if self._rows is not None:
            row = next(self._rows)
            for back, noises in enumerate(reversed(self._earlier), start=1):
                for tensor, noise in zip(drawn, noises, strict=True):
                    tensor.sub_(noise, alpha=float(row[self._step - back]))
            for tensor in drawn:
                tensor.div_(float(row[self._step]))
            self._earlier.append(drawn)
            self._step += 1
        return drawn
