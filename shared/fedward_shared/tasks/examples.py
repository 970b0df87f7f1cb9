"""Records as a study's model takes them: packed activations, padded only within a micro-batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.unit import Unit
from fedward_shared.tasks.units import Units, packed

IGNORED = -100
"""The target of a token that has none."""


@dataclass(frozen=True)
class Batch:
    """B records padded to T positions. `targets`: [B] (labels) or [B, T] (tokens; `IGNORED`: none)."""

    hidden_BTD: torch.Tensor
    mask_BT: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Examples:
    """N records, one after the other: `hidden_PD[offsets[i]:offsets[i + 1]]` is record i.

    P counts the positions of all records together. `targets` is of [N], or of [P] where each
    position has its own. `owners` numbers the patients or customers whose the records are, [N], if that
    is known.
    """

    hidden_PD: torch.Tensor
    offsets: np.ndarray
    targets: torch.Tensor
    owners: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def single_class(self) -> bool:
        """Whether all targets are the same: there is nothing to tell apart."""
        targets = self.targets[self.targets != IGNORED]
        return bool((targets == targets[0]).all())

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each record, [N]."""
        return np.diff(self.offsets)

    def units(self, unit: Unit) -> Units:
        """The records as units of that kind. Raises PrivacyError if nobody said whose they are."""
        if unit == "record":
            return Units.of(self.lengths, np.arange(len(self)))
        if self.owners is None:
            raise PrivacyError(
                f"the charter protects one {unit} at a time, but no column says whose each record is"
            )
        return Units.of(self.lengths, self.owners)

    def taken(self, indices: np.ndarray) -> "Examples":
        """The records `indices`, at least one, in that order, as examples of their own."""
        starts, lengths = self.offsets[indices], self.lengths[indices]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows_P = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        each = len(self.targets) == len(self)
        targets = self.targets[torch.from_numpy(indices if each else rows_P)]
        owners = self.owners
        if owners is not None:
            owners = np.unique(owners[indices], return_inverse=True)[1]
        return Examples(self.hidden_PD[torch.from_numpy(rows_P)], offsets, targets, owners)

    def micro_batches(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """`indices` in pieces of like length, each of about `MICRO_BATCH_TOKENS` padded positions."""
        return packed(indices, self.lengths[indices], np.ones(len(indices)))

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
            targets = torch.where(mask_BT, self.targets[rows_BT], IGNORED)
        return Batch(hidden_BTD, mask_BT, targets)
