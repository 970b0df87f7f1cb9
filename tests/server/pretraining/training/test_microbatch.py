"""The largest micro-batch that fits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_server.pretraining.training import microbatch
from fedward_shared.errors import ModelError


@given(st.integers(1, 10**9), st.integers(0, 10**10), st.integers(1, 4096), st.integers(1, 10**12))
def test_what_is_said_to_fit_fits_and_twice_as_many_do_not(
    each: int, fixed: int, rows: int, free: int
) -> None:
    def needs(count: int) -> int:
        return fixed + each * count

    if needs(1) > free:
        with pytest.raises(ModelError, match="one row needs"):
            microbatch.most_that_fit(needs, free, rows)
        return
    found = microbatch.most_that_fit(needs, free, rows)
    assert needs(found) <= free
    assert found & (found - 1) == 0
    assert 2 * found > rows or needs(2 * found) > microbatch.RESERVE * free


def test_what_a_step_takes_is_measured() -> None:
    size = 64 * 2**20

    def step(rows: int) -> None:
        torch.ones(rows * size // 4).sum()

    needs = microbatch.needed(step, torch.device("cpu"))
    needs(1)  # the allocator's own
    assert needs(2) - needs(1) == pytest.approx(size, rel=0.3)
    assert 2**26 < microbatch.free(torch.device("cpu")) < 2**50
