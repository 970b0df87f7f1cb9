"""Tags and spans are the same thing, in both schemes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.annotation import tags
from fedward_shared.annotation.tags import Marked
from fedward_shared.errors import DataError


@st.composite
def marked(draw: st.DrawFn) -> tuple[list[Marked], int]:
    """Entities on tokens that do not overlap, in order, and the number of tokens."""
    cuts = sorted(draw(st.sets(st.integers(0, 20), min_size=2)))
    spans = [
        (a, b, draw(st.sampled_from(["x", "y", "a-b"])))
        for a, b in itertools.pairwise(cuts)
        if draw(st.booleans())
    ]
    return spans, cuts[-1]


@given(marked(), st.sampled_from(["bio", "bilou"]))
def test_round_trip(case: tuple[list[Marked], int], scheme: str) -> None:
    spans, count = case
    found = tags.encode(spans, count, scheme)
    assert len(found) == count
    assert tags.decode(found) == spans


def test_both_schemes_by_hand() -> None:
    spans = [(0, 1, "x"), (1, 4, "y")]
    assert tags.encode(spans, 5) == ["B-x", "B-y", "I-y", "I-y", "O"]
    assert tags.encode(spans, 5, "bilou") == ["U-x", "B-y", "I-y", "L-y", "O"]


@pytest.mark.parametrize(
    ("given_tags", "found"),
    [
        (["I-x", "I-x", "O"], [(0, 2, "x")]),
        (["B-x", "I-y"], [(0, 1, "x"), (1, 2, "y")]),
        (["B-x", "B-x"], [(0, 1, "x"), (1, 2, "x")]),
        (["L-x", "L-x"], [(0, 1, "x"), (1, 2, "x")]),
        (["B-x", "U-x", "I-x"], [(0, 1, "x"), (1, 2, "x"), (2, 3, "x")]),
    ],
)
def test_tags_that_nobody_would_write(given_tags: list[str], found: list[Marked]) -> None:
    assert tags.decode(given_tags) == found


def test_overlapping_entities_have_no_tags() -> None:
    with pytest.raises(DataError, match="two entities share the token 1"):
        tags.encode([(0, 2, "x"), (1, 3, "y")], 3)


def test_an_entity_gets_the_tokens_it_overlaps() -> None:
    tokens = [(0, 0), (0, 3), (3, 6), (7, 9), (0, 0)]
    assert tags.on_tokens([(1, 6, "x"), (6, 7, "y"), (7, 9, "z")], tokens) == [
        (1, 3, "x"),
        (3, 4, "z"),
    ]
    assert tags.in_text([(1, 3, "x")], tokens) == [(0, 6, "x")]
