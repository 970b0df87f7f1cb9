"""Spans that overlap become one."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation.identifiers.spans import Found, Kind, merged

SPANS = st.lists(
    st.builds(
        lambda start, length, kind: Found(start, start + length, kind, "rule"),
        st.integers(0, 50),
        st.integers(1, 10),
        st.sampled_from(Kind),
    ),
    max_size=20,
)


def places(spans: list[Found]) -> set[int]:
    return {place for span in spans for place in range(span.start, span.end)}


@given(SPANS)
def test_all_that_was_found_is_covered_once(spans: list[Found]) -> None:
    result = merged(spans)
    assert places(result) == places(spans)
    assert all(a.end <= b.start for a, b in pairwise(result))


def test_the_longest_says_the_kind() -> None:
    spans = [Found(0, 3, Kind.DATE, "a"), Found(2, 9, Kind.PHONE, "b"), Found(8, 10, Kind.AGE, "c")]
    assert merged(spans) == [Found(0, 10, Kind.PHONE, "b")]
