"""The ring that updates are added in: integers modulo 2^12, 2^16 or 2^32, and their bytes.

Numbers of a ring are kept in the smallest unsigned type of numpy that holds them; those of the
12-bit ring in 16 bits, whose arithmetic is the same modulo 2^12, and reduced when they are packed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward_shared.errors import AdapterError, CharterError

WIDTHS = (12, 16, 32)
CHUNK = 2**15
"""Numbers that are worked on at once, so that they stay in the processor's cache. Even: two numbers
of 12 bits are three bytes."""

Numbers = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Ring:
    """Integers modulo 2**bits. Raises CharterError for another width than 12, 16 or 32."""

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS:
            raise CharterError(f"a ring has 12, 16 or 32 bits, not {self.bits!r}")

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Little-endian, as on the wire."""
        return np.dtype("<u4" if self.bits == 32 else "<u2")

    @property
    def largest(self) -> int:
        """The largest number of a signed sum."""
        return (1 << (self.bits - 1)) - 1

    def packed_bytes(self, count: int) -> int:
        """The bytes of `count` packed numbers."""
        return (count * self.bits + 7) // 8

    def zeros(self, count: int) -> Numbers:
        """A sum of nothing."""
        return np.zeros(count, dtype=self.dtype)

    def from_signed(self, values: NDArray[np.integer]) -> Numbers:
        """Integers of either sign as numbers of the ring."""
        return values.astype(self.dtype)

    def to_signed(self, numbers: Numbers) -> NDArray[np.int32]:
        """The integers in [-2^(bits-1), 2^(bits-1)) that the numbers stand for."""
        if self.bits == 12:
            lifted = (numbers << np.uint16(4)).view("<i2") >> np.int16(4)
            return lifted.astype(np.int32)
        signed: NDArray[np.int32] = numbers.view(f"<i{self.bits // 8}").astype(np.int32)
        return signed

    def pack(self, numbers: Numbers, header: bytes = b"") -> bytes:
        """`header`, then the numbers: little-endian; of 12 bits, two in three bytes, a half byte of
        zeros after an odd last one.
        """
        if self.bits != 12:
            return b"".join([header, numbers.data])
        return b"".join([header, *(_pack_12(numbers[at]) for at in chunks(numbers.size))])

    def unpack(self, data: bytes | memoryview, count: int, origin: str) -> Numbers:
        """The `count` numbers in `data`; a view of it where the width allows.

        Raises AdapterError, naming `origin`, for another number of bytes, or a last half byte that
        is not zero.
        """
        if len(data) != self.packed_bytes(count):
            raise AdapterError(
                f"{origin}: {len(data)} bytes, and {count} numbers of {self.bits} bits are "
                f"{self.packed_bytes(count)}"
            )
        if self.bits != 12:
            return np.frombuffer(data, dtype=self.dtype)
        if count % 2 and data[-1] >> 4:
            raise AdapterError(f"{origin}: the last half byte is not zero")
        return _unpack_12(np.frombuffer(data, dtype=np.uint8), count)


def chunks(count: int) -> Iterator[slice]:
    """`count` numbers in runs of at most CHUNK."""
    return (slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))


def ring_for(total_weight: int, precision: int) -> Ring:
    """The smallest ring in which the sum of a whole cohort cannot overflow.

    `total_weight`: the sum of the integer weights of all sites; `precision`: bits of a coordinate,
    sign included. Raises CharterError where 32 bits do not hold it.
    """
    largest_sum = total_weight * largest(precision)
    for bits in WIDTHS:
        if largest_sum <= Ring(bits).largest:
            return Ring(bits)
    raise CharterError(
        f"weights of {total_weight} in all and {precision} bits a coordinate: the sum does not fit "
        f"in {WIDTHS[-1]} bits; take fewer bits, or equal weights"
    )


def largest(precision: int) -> int:
    """L, the largest integer of a coordinate of `precision` bits, sign included.

    Raises CharterError for fewer than 2 bits or more than 24, beyond which float32 has no digits.
    """
    if not 2 <= precision <= 24:
        raise CharterError(f"a coordinate has 2 to 24 bits, not {precision}")
    return (1 << (precision - 1)) - 1


def _pack_12(numbers: Numbers) -> bytes:
    """Low byte of the first; high half of the first and low half of the second; the second's high."""
    padded = np.zeros(numbers.size + numbers.size % 2, dtype=np.uint16)
    np.bitwise_and(numbers, 0xFFF, out=padded[: numbers.size])
    first, second = padded[0::2], padded[1::2]
    triples = np.empty((first.size, 3), dtype=np.uint8)
    triples[:, 0] = first & 0xFF
    triples[:, 1] = (first >> 8) | ((second & 0xF) << 4)
    triples[:, 2] = second >> 4
    return triples.tobytes()[: (numbers.size * 12 + 7) // 8]


def _unpack_12(data: NDArray[np.uint8], count: int) -> Numbers:
    numbers = np.empty(count, dtype="<u2")
    for at in chunks(count):
        start, size = at.start * 3 // 2, at.stop - at.start
        triples = np.zeros(((size + 1) // 2, 3), dtype=np.uint16)
        part = data[start : start + (size * 12 + 7) // 8]
        triples.reshape(-1)[: part.size] = part
        pairs = np.empty((triples.shape[0], 2), dtype=np.uint16)
        pairs[:, 0] = triples[:, 0] | ((triples[:, 1] & 0xF) << 8)
        pairs[:, 1] = (triples[:, 1] >> 4) | (triples[:, 2] << 4)
        numbers[at] = pairs.reshape(-1)[:size]
    return numbers
