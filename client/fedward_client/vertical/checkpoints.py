"""What a party keeps of its program on the way, so that it need not do all again when it was killed."""

from collections.abc import Generator
from typing import Protocol

import torch

from fedward_client.vertical.fitting import Steps
from fedward_shared import tensors
from fedward_shared.exchange.program import Action, Checkpoint
from fedward_shared.psi.alignment import Rows
from fedward_shared.tensors import Tensors

CHECKPOINT_RECORDS = 2**14
"""So many records are exchanged between two checkpoints: with embeddings of 256 numbers 16 MiB from each
party to each peer, which is what a journal has to hold."""
ROWS = "rows"


class Drawing(Protocol):
    """A `torch.Generator` or a `Randomness`."""

    def get_state(self) -> torch.Tensor:
        """How far it is."""

    def set_state(self, state: torch.Tensor) -> object:
        """Goes on from there."""


class Progress:
    """How far a run of a program is. `state` is that of the last checkpoint, empty before."""

    def __init__(self, state: bytes) -> None:
        self._reached: Tensors = tensors.decode(state, "the checkpoint") if state else {}

    def aligned(self, aligning: Generator[Action, bytes, Rows]) -> Generator[Action, bytes, Rows]:
        """What `aligning` comes to, unless that was kept."""
        if ROWS not in self._reached:
            rows = yield from aligning
            yield self._checkpoint({ROWS: torch.from_numpy(rows)})
        found: Rows = self._reached[ROWS].numpy()
        return found

    def resume(self, steps: Steps, *drawing: Drawing) -> None:
        """Puts all of it where it was at the last checkpoint after a step."""
        if _drawn(0) in self._reached:
            steps.load_state_dict(self._reached)
            for place, one in enumerate(drawing):
                one.set_state(self._reached[_drawn(place)])

    def after_step(
        self, batch: int, steps: Steps, *drawing: Drawing
    ) -> Generator[Action, bytes, None]:
        """Keeps what `resume` takes, when that is due after a step over `batch` records."""
        if steps.taken % max(1, CHECKPOINT_RECORDS // batch) == 0:
            drawn = {_drawn(place): one.get_state() for place, one in enumerate(drawing)}
            yield self._checkpoint(steps.state_dict() | drawn)

    def _checkpoint(self, reached: Tensors) -> Checkpoint:
        self._reached |= reached
        return Checkpoint(tensors.encode(self._reached))


def _drawn(place: int) -> str:
    return f"drawn {place}"
