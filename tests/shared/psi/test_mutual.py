"""Two parties each learn which of their own elements the other has, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_shared.errors import AlignmentError
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi import POINT_BYTES, alignment, group
from fedward_shared.psi.alignment import Terms
from fedward_shared.psi.mutual import Mutual

DOMAIN = b"fedward/duplicates/1 test"
sides = st.sets(st.integers(0, 30), max_size=20)


def named(numbers: list[int]) -> list[bytes]:
    return [f"element {number}".encode() for number in numbers]


def halves(one: list[int], other: list[int], padded: int = 25) -> tuple[Mutual, Mutual]:
    terms = Terms(DOMAIN, padded, padded, 1000)
    made = (Mutual(terms, named(side), Randomness.from_os(), map) for side in (one, other))
    return next(made), next(made)


def talk(one: Mutual, other: Mutual) -> None:
    for mine, theirs in zip(one.batches(), other.batches(), strict=True):
        one.returned(other.theirs(mine))
        other.returned(one.theirs(theirs))


@settings(max_examples=25, deadline=None)
@given(one=sides, other=sides, batch=st.sampled_from([3, 4096]))
def test_each_learns_which_of_its_own_the_other_has(
    one: set[int], other: set[int], batch: int
) -> None:
    ours, theirs = list(one), sorted(other, reverse=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "BATCH", batch)
        first, second = halves(ours, theirs)
        talk(first, second)
    assert [ours[row] for row in first.rows()] == [n for n in ours if n in other]
    assert [theirs[row] for row in second.rows()] == [n for n in theirs if n in one]


def test_what_does_not_fit_is_refused() -> None:
    one, other = halves([1, 2], [2, 3])
    [mine], [theirs] = one.batches(), other.batches()
    with pytest.raises(AlignmentError, match="0 of 25 of own points have come"):
        one.rows()
    with pytest.raises(AlignmentError, match="a batch of 768 bytes after 0 of 25 points"):
        one.theirs(theirs[POINT_BYTES:])
    with pytest.raises(AlignmentError, match="a batch of 832 bytes"):
        one.returned(mine + mine[:POINT_BYTES])
    for none in (b"\xff" * len(theirs), bytes(len(theirs))):  # no point, and the neutral one
        with pytest.raises(AlignmentError, match=r"for a point of ristretto255 is none"):
            one.theirs(none)
    one.theirs(theirs)
    with pytest.raises(AlignmentError, match="a batch of 800 bytes after 25 of 25 points"):
        one.theirs(theirs)


@pytest.mark.parametrize("whose", ["own", "the peer's"])
def test_a_point_that_comes_twice_is_refused(whose: str) -> None:
    one, other = halves([1, 2], [2, 3])
    [mine], [theirs] = one.batches(), other.batches()
    back = other.theirs(mine)
    if whose == "own":
        back = back[:POINT_BYTES] + back[:-POINT_BYTES]
    else:
        theirs = theirs[:POINT_BYTES] + theirs[:-POINT_BYTES]
    one.theirs(theirs)
    one.returned(back)
    with pytest.raises(AlignmentError, match=f"a point of {whose} came twice"):
        one.rows()


def test_points_that_are_sent_and_sent_back_are_new_in_each_session() -> None:
    seen: list[set[bytes]] = []
    for _ in range(2):
        one, other = halves([1, 2], [2, 3])
        [mine] = one.batches()
        whole = mine + other.theirs(mine)
        seen.append({whole[at : at + POINT_BYTES] for at in range(0, len(whole), POINT_BYTES)})
        assert len(seen[-1]) == 50
    assert not seen[0] & seen[1]
    hashed = {group.hashed(element, DOMAIN) for element in named([1, 2, 3])}
    assert not hashed & (seen[0] | seen[1])


def test_more_elements_than_were_announced_are_refused() -> None:
    with pytest.raises(AlignmentError, match="there are 26 identifiers, more than the 25"):
        halves(list(np.arange(26)), [1])
