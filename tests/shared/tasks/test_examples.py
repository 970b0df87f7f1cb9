"""Packed records: micro-batches take each index once, and padding never reaches a record."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.units import MICRO_BATCH_TOKENS


def packed(lengths: list[int], per_position: bool = False) -> Examples:
    """Records whose positions are numbered through."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    hidden_PD = torch.arange(float(offsets[-1]))[:, None].repeat(1, 2)
    targets = torch.arange(int(offsets[-1]) if per_position else len(lengths))
    return Examples(hidden_PD, offsets, targets)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=20))
def test_micro_batches_take_each_index_once_and_stay_small(lengths: list[int]) -> None:
    examples = packed(lengths)
    indices = np.random.default_rng(0).permutation(len(lengths))[: max(1, len(lengths) - 2)]
    pieces = list(examples.micro_batches(indices))
    assert sorted(np.concatenate(pieces).tolist()) == sorted(indices.tolist())
    for piece in pieces:
        longest = max(lengths[i] for i in piece)
        assert len(piece) == 1 or longest * len(piece) <= MICRO_BATCH_TOKENS


@given(st.lists(st.integers(2, 9), min_size=1, max_size=6))
def test_a_batch_holds_each_record_and_marks_the_rest(lengths: list[int]) -> None:
    for per_position in (False, True):
        examples = packed(lengths, per_position)
        indices = np.arange(len(lengths))[::-1].copy()
        batch = examples.batch(indices)
        assert batch.mask_BT.shape == (len(lengths), max(lengths))
        for row, index in enumerate(indices):
            start, stop = examples.offsets[index], examples.offsets[index + 1]
            mask_T = batch.mask_BT[row]
            assert mask_T.tolist() == [t < lengths[index] for t in range(max(lengths))]
            assert torch.equal(batch.hidden_BTD[row][mask_T], examples.hidden_PD[start:stop])
            if per_position:
                assert batch.targets[row][mask_T].tolist() == list(range(start, stop))
                assert bool((batch.targets[row][~mask_T] == -100).all())
            else:
                assert int(batch.targets[row]) == index


def test_one_class_only_is_told() -> None:
    hidden_PD, offsets = torch.zeros(2, 1), np.array([0, 1, 2])
    assert Examples(hidden_PD, offsets, torch.tensor([1, 1])).single_class
    assert not Examples(hidden_PD, offsets, torch.tensor([1, 0])).single_class
