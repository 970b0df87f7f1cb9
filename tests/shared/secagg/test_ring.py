"""The ring: arithmetic modulo its size, packing, and a width in which honest sums fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import AdapterError, CharterError
from fedward_shared.secagg.ring import CHUNK, WIDTHS, Ring, largest, ring_for

RINGS = st.sampled_from([Ring(bits) for bits in WIDTHS])


@given(RINGS, st.lists(st.integers(-(2**40), 2**40), max_size=50))
def test_signed_integers_come_back_modulo_the_ring(ring: Ring, values: list[int]) -> None:
    numbers = ring.from_signed(np.array(values, dtype=np.int64))
    half = 2 ** (ring.bits - 1)
    assert ring.to_signed(numbers).tolist() == [(v + half) % (2 * half) - half for v in values]


@given(RINGS, st.integers(0, 70), st.integers(0, 2**32))
def test_packed_numbers_come_back(ring: Ring, count: int, seed: int) -> None:
    numbers = np.random.default_rng(seed).integers(0, 2**ring.bits, count).astype(ring.dtype)
    packed = ring.pack(numbers)
    assert len(packed) == ring.packed_bytes(count)
    assert (ring.unpack(packed, count, "test") == numbers).all()


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_twelve_bits_are_packed_across_chunks(count: int) -> None:
    ring = Ring(12)
    numbers = np.random.default_rng(0).integers(0, 2**12, count).astype("<u2")
    packed = ring.pack(numbers)
    assert (ring.unpack(packed, count, "test") == numbers).all()
    as_integer = int.from_bytes(packed, "little")
    for at in (0, 1, CHUNK - 2, count - 1):
        assert as_integer >> (12 * at) & 0xFFF == numbers[at]


def test_what_lies_above_twelve_bits_is_not_packed() -> None:
    ring = Ring(12)
    numbers = ring.from_signed(np.array([-1, 5]))
    assert numbers.tolist() == [0xFFFF, 5]
    assert ring.unpack(ring.pack(numbers), 2, "test").tolist() == [0xFFF, 5]


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("change", [-1, 1])
def test_another_number_of_bytes_is_refused(bits: int, change: int) -> None:
    ring = Ring(bits)
    data = bytes(ring.packed_bytes(7) + change)
    with pytest.raises(AdapterError, match=r"vector of north: \d+ bytes, and 7 numbers"):
        ring.unpack(data, 7, "vector of north")


def test_a_last_half_byte_that_is_not_zero_is_refused() -> None:
    with pytest.raises(AdapterError, match="half byte"):
        Ring(12).unpack(b"\xff\xff", 1, "test")


def test_there_is_no_ring_of_other_widths() -> None:
    with pytest.raises(CharterError, match="12, 16 or 32 bits, not 8"):
        Ring(8)


@given(st.integers(1, 10**9), st.integers(2, 24))
def test_the_derived_ring_is_the_smallest_in_which_no_sum_overflows(
    weight: int, precision: int
) -> None:
    worst = weight * largest(precision)
    try:
        ring = ring_for(weight, precision)
    except CharterError:
        assert worst > Ring(32).largest
        return
    assert worst <= ring.largest
    assert all(worst > Ring(bits).largest for bits in WIDTHS if bits < ring.bits)
    extremes = np.array([worst, -worst])
    assert ring.to_signed(ring.from_signed(extremes)).tolist() == extremes.tolist()


@pytest.mark.parametrize(
    ("weight", "precision", "bits"), [(16, 8, 12), (17, 8, 16), (258, 8, 16), (259, 8, 32)]
)
def test_where_the_width_changes(weight: int, precision: int, bits: int) -> None:
    assert ring_for(weight, precision).bits == bits


@pytest.mark.parametrize("precision", [1, 25])
def test_a_precision_out_of_range_is_refused(precision: int) -> None:
    with pytest.raises(CharterError, match="2 to 24 bits"):
        ring_for(1, precision)
