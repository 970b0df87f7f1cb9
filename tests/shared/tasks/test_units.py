"""Privacy units: every record is one unit's, and no piece separates what is clipped together."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.units import MICRO_BATCH_TOKENS, Units


@st.composite
def owned(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of records and whose they are, numbered from 0 without a gap, in any order."""
    patients = draw(st.integers(1, 12))
    more = draw(st.lists(st.integers(0, patients - 1), max_size=40))
    owners = draw(st.permutations([*range(patients), *more]))
    count = len(owners)
    lengths = draw(st.lists(st.integers(1, 900), min_size=count, max_size=count))
    return np.array(lengths), np.array(owners)


@given(owned())
def test_every_record_is_in_exactly_its_owners_unit(data: tuple[np.ndarray, np.ndarray]) -> None:
    lengths, owners = data
    units = Units.of(lengths, owners)
    assert len(units) == owners.max() + 1
    for unit in range(len(units)):
        records, places = units.records(np.array([unit]))
        assert records.tolist() == np.flatnonzero(owners == unit).tolist()
        assert not places.any()
        assert units.longest_U[unit] == lengths[records].max()


@given(owned(), st.data())
def test_pieces_take_each_sampled_unit_once_and_keep_it_whole(
    data: tuple[np.ndarray, np.ndarray], draw: st.DataObject
) -> None:
    lengths, owners = data
    units = Units.of(lengths, owners)
    taken = draw.draw(st.lists(st.booleans(), min_size=len(units), max_size=len(units)))
    sampled = np.flatnonzero(taken)
    pieces = list(units.pieces(sampled))
    assert sorted(int(unit) for piece in pieces for unit in piece) == sampled.tolist()
    for piece in pieces:
        records, places = units.records(piece)
        assert owners[records].tolist() == piece[places].tolist()
        assert set(records) == set(np.flatnonzero(np.isin(owners, piece)))
        assert len(piece) == 1 or len(records) * lengths[records].max() <= MICRO_BATCH_TOKENS


def test_nobody_has_no_records() -> None:
    units = Units.of(np.array([1, 2]), np.array([0, 0]))
    nobody = np.zeros(0, dtype=np.int64)
    assert [len(part) for part in units.records(nobody)] == [0, 0]
    assert list(units.pieces(nobody)) == []


@given(st.lists(st.integers(1, 900), min_size=1, max_size=30))
def test_units_of_one_record_are_cut_like_records(lengths: list[int]) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    targets = torch.zeros(len(lengths))
    examples = Examples(torch.zeros(int(offsets[-1]), 1), offsets, targets, np.arange(len(lengths)))
    sampled = np.arange(0, len(lengths), 2)
    by_record = [piece.tolist() for piece in examples.micro_batches(sampled)]
    for unit in ("record", "patient", "customer"):
        units = examples.units(unit)
        assert [piece.tolist() for piece in units.pieces(sampled)] == by_record
        assert [units.records(np.array(p))[0].tolist() for p in by_record] == by_record


def test_without_owners_there_are_records_alone() -> None:
    examples = Examples(torch.zeros(2, 1), np.array([0, 1, 2]), torch.zeros(2))
    assert len(examples.units("record")) == 2
    for unit in ("patient", "customer"):
        with pytest.raises(PrivacyError, match=f"one {unit} at a time"):
            examples.units(unit)


@given(owned(), st.integers(1, 6), st.integers(0, 1000))
def test_of_each_unit_at_most_so_many_records_are_kept(
    data: tuple[np.ndarray, np.ndarray], limit: int, seed: int
) -> None:
    lengths, owners = data
    units = Units.of(lengths, owners)
    fewer = units.at_most(limit, lengths, Randomness.from_seed(seed, "records"))
    assert len(fewer) == len(units)
    for unit in range(len(units)):
        (all_of_it, _), (kept, _) = (u.records(np.array([unit])) for u in (units, fewer))
        assert len(kept) == min(limit, len(all_of_it))
        assert set(kept) <= set(all_of_it)
        assert list(kept) == sorted(kept)
        assert fewer.longest_U[unit] == lengths[kept].max()


def test_every_record_of_a_unit_is_kept_as_often_as_another() -> None:
    owners_N = np.array([0] * 5 + [1] * 2)
    units = Units.of(np.ones(7, dtype=np.int64), owners_N)
    randomness = Randomness.from_seed(0, "records")
    kept = np.zeros(7)
    for _ in range(4000):
        kept[units.at_most(2, np.ones(7, dtype=np.int64), randomness).records_N] += 1
    assert (kept[5:] == 4000).all()
    # Four standard deviations of a share of 2/5 in 4,000 draws.
    assert np.abs(kept[:5] / 4000 - 0.4).max() < 4 * np.sqrt(0.4 * 0.6 / 4000)
