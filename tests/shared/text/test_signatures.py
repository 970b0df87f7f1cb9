"""Signatures against datasketch's own, one text after the other."""

from collections.abc import Callable
from dataclasses import astuple
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.text import signatures
from fedward_shared.text.signatures import BANDS, ROWS, Sketches, sketch, sketches
from fedward_shared.text.workers import processes

datasketch = pytest.importorskip("datasketch")
TEXTS = [f"note {n % 7} of patient {n % 5} says {n}" for n in range(50)]


@given(
    st.lists(
        st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40, unique=True),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**32 - 1),
)
def test_a_signature_is_that_of_datasketch(sets: list[list[int]], seed: int) -> None:
    starts = np.append(0, np.cumsum([len(one) for one in sets]))
    ours_DP = signatures.signatures(np.array([*chain(*sets)], np.uint32), starts, seed)
    for ours_P, one in zip(ours_DP, sets, strict=True):
        theirs = datasketch.MinHash(BANDS * ROWS, seed, hashfunc=int)
        theirs.update_batch(one)
        np.testing.assert_array_equal(ours_P, theirs.hashvalues)


def test_what_fits_no_cache_is_cut_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sketch(TEXTS, 1)
    monkeypatch.setattr(signatures, "_SHINGLES_AT_ONCE", 7)
    same(sketch(TEXTS, 1), whole)


def test_pieces_and_processes_give_what_one_text_after_the_other_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Sketches.joined([sketch([text], 3) for text in TEXTS])
    monkeypatch.setattr(signatures, "PIECE", 8)
    same(Sketches.joined(list(sketches(iter(TEXTS), 3))), whole)
    with processes(2) as work:
        same(Sketches.joined(list(sketches(iter(TEXTS), 3, work))), whole)


def test_pieces_end_where_they_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "CHARACTERS_AT_ONCE", 60)
    taken: list[int] = []

    def work(function: Callable[[list[str]], Sketches], pieces: object) -> list[Sketches]:
        taken.extend(len(piece) for piece in pieces)  # type: ignore[attr-defined]
        return []

    list(sketches(TEXTS, 1, work))
    assert max(taken) == 3
    assert sum(taken) == len(TEXTS)


def same(one: Sketches, other: Sketches) -> None:
    for ours, theirs in zip(astuple(one), astuple(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)
