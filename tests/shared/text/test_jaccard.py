"""The Jaccard similarity against sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.text.jaccard import jaccard

SET = st.sets(st.integers(0, 30), min_size=1)


@given(SET, SET)
def test_it_is_what_sets_say(one: set[int], other: set[int]) -> None:
    found = jaccard(np.array(sorted(one), np.uint32), np.array(sorted(other), np.uint32))
    assert found == len(one & other) / len(one | other)
