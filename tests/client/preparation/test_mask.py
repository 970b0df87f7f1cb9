"""What is masked is black, all of it, and something is left."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation.mask import Mask
from fedward_shared.errors import UsageError

PART = st.floats(0, 0.5, exclude_max=True)


@given(mask=st.tuples(PART, PART, PART, PART), height=st.integers(1, 30), width=st.integers(1, 30))
def test_edges_are_black_and_nothing_else(
    mask: tuple[float, float, float, float], height: int, width: int
) -> None:
    pixel_HWK = np.full((height, width, 3), 255, np.uint8)
    Mask(*mask).blacken(pixel_HWK)
    row, column = np.mgrid[:height, :width]
    top, right, bottom, left = mask
    edge_HW = (
        (row < math.ceil(top * height))
        | (row >= height - math.ceil(bottom * height))
        | (column < math.ceil(left * width))
        | (column >= width - math.ceil(right * width))
    )
    assert np.array_equal(pixel_HWK.any(axis=2), ~edge_HW)


def test_it_is_read_and_written() -> None:
    mask = Mask.parse("0.1, 0, .25,0")
    assert mask == (0.1, 0, 0.25, 0)
    assert Mask.parse(str(mask)) == mask


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.1",
        "0,0,0",
        "0,0,0,0,0",
        "a,0,0,0",
        "-0.1,0,0,0",
        "nan,0,0,0",
        "0.5,0,0.5,0",
        "0,1,0,0",
    ],
)
def test_others_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--mask"):
        Mask.parse(text)
