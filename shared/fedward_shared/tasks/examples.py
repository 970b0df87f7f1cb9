"""Records as a study's model takes them: packed activations, padded only within a micro-batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

MICRO_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Batch:
    """B records padded to T positions. `targets` is of [B] (labels) or [B, T] (tokens, -100: none)."""

    hidden_BTD: torch.Tensor
    mask_BT: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Examples:
    """N records, one after the other: `hidden_PD[offsets[i]:offsets[i + 1]]` is record i.

    P counts the positions of all records together. `targets` is of [N], or of [P] where each
    position has its own.
    """

    hidden_PD: torch.Tensor
    offsets: np.ndarray
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def single_class(self) -> bool:
        """Whether all targets are the same: there is nothing to tell apart."""
        return bool((self.targets == self.targets[0]).all())

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each record, [N]."""
        return np.diff(self.offsets)

    def micro_batches(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """`indices` in pieces of like length, each of about `MICRO_BATCH_TOKENS` padded positions.

        Sorting happens within the sampled batch, after the sample is drawn: it changes how the sum is
        computed, never who is in it.
        """
        by_length = indices[np.argsort(self.lengths[indices], kind="stable")]
        start = 0
        while start < len(by_length):
            stop = start + 1
            while stop < len(by_length) and (
                self.lengths[by_length[stop]] * (stop + 1 - start) <= MICRO_BATCH_TOKENS
            ):
                stop += 1
            yield by_length[start:stop]
            start = stop

    def batch(self, indices: np.ndarray) -> Batch:
        """The records `indices`, padded to the longest of them."""
        lengths = torch.from_numpy(self.lengths[indices])
        starts = torch.from_numpy(self.offsets[indices])
        positions_T = torch.arange(int(lengths.max()))
        mask_BT = positions_T[None, :] < lengths[:, None]
        rows_BT = torch.where(mask_BT, starts[:, None] + positions_T[None, :], starts[:, None])
        hidden_BTD = self.hidden_PD[rows_BT]
        if len(self.targets) == len(self):
            targets = self.targets[torch.from_numpy(indices)]
        else:
            targets = torch.where(mask_BT, self.targets[rows_BT], -100)
        return Batch(hidden_BTD, mask_BT, targets)
