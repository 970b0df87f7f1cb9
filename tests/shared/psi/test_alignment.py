"""Two and three parties find whom they have in common, in one order, and nobody else."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_shared.errors import AlignmentError
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi import POINT_BYTES, alignment, group
from fedward_shared.psi.alignment import PLACE, Active, Common, Passive, Terms, aligned

DOMAIN = b"fedward/psi/1 test"
POINT = POINT_BYTES
people = st.sets(st.integers(0, 40), min_size=1, max_size=25)


def named(numbers: Sequence[int]) -> list[bytes]:
    return [f"person {number}".encode() for number in numbers]


def halves(
    active: Sequence[bytes], passive: Sequence[bytes], step: int = 1, domain: bytes = DOMAIN
) -> tuple[Active, Passive]:
    own, theirs = (-(-len(side) // step) * step for side in (active, passive))
    return (
        Active(Terms(domain, own, theirs, 1000), active, Randomness.from_os(), map),
        Passive(Terms(domain, theirs, own, 1000), passive, Randomness.from_os(), map),
    )


def talk(active: Active, passive: Passive) -> Common:
    for batch in active.batches():
        active.doubled(passive.doubled(batch))
    for batch in passive.batches():
        active.theirs(batch)
    return active.common()


@settings(max_examples=25, deadline=None)
@given(
    active=people, passive=people, step=st.sampled_from([1, 7]), batch=st.sampled_from([3, 4096])
)
def test_two_parties_have_the_common_people_in_one_order(
    active: set[int], passive: set[int], step: int, batch: int
) -> None:
    ours, theirs = list(active), sorted(passive, reverse=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "BATCH", batch)
        one, other = halves(named(ours), named(theirs), step)
        common = talk(one, other)
    if not active & passive:
        with pytest.raises(AlignmentError, match="0 records are common"):
            aligned([common], 1)
        return
    rows, [places] = aligned([common], 1)
    found = [ours[row] for row in rows]
    assert set(found) == active & passive
    assert found == [theirs[row] for row in other.rows(places)]


def test_three_parties_have_what_is_common_to_all() -> None:
    ours, second, third = [1, 2, 3, 4, 5, 6], [9, 6, 4, 3, 1], [3, 4, 7, 6]
    one, other = halves(named(ours), named(second))
    another, last = halves(named(ours), named(third), domain=DOMAIN + b" 2")
    rows, [to_second, to_third] = aligned([talk(one, other), talk(another, last)], 3)
    found = [ours[row] for row in rows]
    assert sorted(found) == [3, 4, 6]
    assert found == [second[row] for row in other.rows(to_second)]
    assert found == [third[row] for row in last.rows(to_third)]


def test_the_order_says_nothing_of_either_table() -> None:
    numbers = list(range(200))
    one, other = halves(named(numbers), named(numbers))
    rows, _ = aligned([talk(one, other)], 1)
    assert sorted(rows.tolist()) == numbers
    assert abs(np.corrcoef(rows, numbers)[0, 1]) < 0.3


def test_what_crosses_is_another_in_every_session_and_names_nobody() -> None:
    seen = []
    for _ in range(2):
        one, _ = halves(named(range(5)), named(range(5)))
        sent = b"".join(one.batches())
        seen.append({sent[at : at + POINT] for at in range(0, len(sent), POINT)})
        plain = {group.hashed(identifier, DOMAIN) for identifier in named(range(5))}
        assert not seen[-1] & plain
    assert len(seen[0] | seen[1]) == 10


def test_a_pool_of_threads_does_the_same() -> None:
    key = group.secret(bytes(range(64)))
    points = group.padding(Randomness.from_os().words64(8 * 2000).tobytes())
    with ThreadPoolExecutor(2) as pool:
        passive = Passive(Terms(DOMAIN, 1, 2000, 2000), [b"x"], Randomness.from_os(), pool.map)
        passive._key = key
        assert passive.doubled(points) == group.multiplied(key, points)


def test_padding_is_in_nobody_s_intersection_and_sizes_are_hidden() -> None:
    one, other = halves(named(range(3)), named(range(2)), step=16)
    assert len(b"".join(one.batches())) == 16 * POINT
    one, other = halves(named(range(3)), named(range(2)), step=16)
    assert len(talk(one, other).rows) == 2


def test_what_does_not_fit_is_refused() -> None:
    one, other = halves(named(range(5)), named(range(5)))
    sent = b"".join(one.batches())
    for wrong in (b"", sent[:-1], sent + sent[:POINT], sent[:POINT]):
        with pytest.raises(AlignmentError, match="a batch of"):
            other.doubled(wrong)
    with pytest.raises(AlignmentError, match="is none"):
        other.doubled(sent[:-POINT] + b"\xff" * POINT)
    with pytest.raises(AlignmentError, match="is none"):
        other.doubled(sent[:-POINT] + bytes(POINT))
    with pytest.raises(AlignmentError, match="0 of 5 of own points"):
        one.common()


def test_a_point_that_comes_twice_is_refused() -> None:
    one, other = halves(named(range(3)), named(range(3)))
    one.doubled(other.doubled(b"".join(one.batches())))
    sent = b"".join(other.batches())
    one.theirs(sent[:POINT] + sent[:POINT] + sent[POINT : 2 * POINT])
    with pytest.raises(AlignmentError, match="a point of the peer's came twice"):
        one.common()


@pytest.mark.parametrize(
    ("places", "match"),
    [
        ([], "nobody in common"),
        ([0, 0], "one is twice"),
        ([16], "beyond"),
        (list(range(16)), "padding"),
    ],
)
def test_places_that_cannot_be_are_refused(places: list[int], match: str) -> None:
    _, other = halves(named(range(3)), named(range(3)), step=16)
    with pytest.raises(AlignmentError, match=match):
        other.rows(np.array(places, PLACE).tobytes())
    with pytest.raises(AlignmentError, match="cut off"):
        other.rows(b"\0")


def test_sizes_beyond_what_the_charter_allows_are_refused() -> None:
    with pytest.raises(
        AlignmentError, match="the peer has 11 identifiers, the charter allows 1 to 10"
    ):
        Terms(DOMAIN, 5, 11, 10)
    with pytest.raises(AlignmentError, match="more than the 2 announced"):
        Passive(Terms(DOMAIN, 2, 2, 10), named(range(3)), Randomness.from_os(), map)


def test_too_few_in_common_are_counted_and_not_named() -> None:
    one, other = halves(named([1, 2, 3]), named([3, 4]))
    with pytest.raises(
        AlignmentError, match=r"^1 records are common to all parties, the charter wants 2$"
    ):
        aligned([talk(one, other)], 2)


def test_points_are_those_of_rfc_9497() -> None:
    """Appendix A.1.1, whose hash to the group is the one that is used here."""
    domain = b"HashToGroup-OPRFV1-\x00-ristretto255-SHA512"
    blind = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706"
    secret = "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e"
    blinded = group.multiplied(bytes.fromhex(blind), group.hashed(b"\0", domain))
    assert blinded.hex() == "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c"
    evaluated = group.multiplied(bytes.fromhex(secret), blinded)
    assert evaluated.hex() == "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e"
