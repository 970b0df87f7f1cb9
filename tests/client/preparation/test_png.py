"""Pictures are PNG files of one form: what goes in comes out, and nothing else is one."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fedward_client.preparation import png

SIDES = st.integers(1, 40)


def drawn(height: int, width: int, colour: bool, seed: int = 0) -> np.ndarray:
    shape = (height, width, 3) if colour else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def saved(image: Image.Image, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **how)
    return file.getvalue()


@given(height=SIDES, width=SIDES, colour=st.booleans(), seed=st.integers(0, 9))
def test_pixels_come_out_as_they_went_in(height: int, width: int, colour: bool, seed: int) -> None:
    pixel_HW = drawn(height, width, colour, seed)
    data = png.encode(pixel_HW)
    assert data == png.encode(pixel_HW.copy())
    assert png.size(data) == (height, width)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), pixel_HW)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((3000, 1500), (1024, 512)), ((7, 2048), (4, 1024)), ((1, 5000), (1, 1024))],
)
def test_large_ones_are_scaled_down(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert png.Size(*size).fitted() == fitted
    assert png.size(png.encode(np.zeros(size, np.uint8))) == fitted


def test_the_largest_fits() -> None:
    worst = drawn(png.LARGEST_SIDE, png.LARGEST_SIDE, True)
    assert png.size(png.encode(worst)) == worst.shape[:2]


def test_a_thumbnail() -> None:
    small = png.thumbnail(png.encode(drawn(80, 40, True)), 20)
    assert png.size(small) == (20, 10)


def test_words_are_in_none() -> None:
    words = PngInfo()
    words.add_text("Patient", "Jane Doe")
    image = Image.fromarray(drawn(4, 4, False))
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    for how in (
        {"pnginfo": words},
        {"exif": exif},
        {"dpi": (72, 72)},
        {"icc_profile": b"Jane Doe"},
    ):
        with pytest.raises(ValueError, match="no PNG of ours"):
            png.size(saved(image, **how))


def test_other_pixels_and_other_files_are_none() -> None:
    good = png.encode(drawn(5, 4, False))
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2000, 4, 8, 0, 0, 0, 0)
    header += struct.pack(">I", zlib.crc32(header[4:]))
    wide = good[:8] + header + good[33:]
    others = [Image.new(mode, (4, 4)) for mode in ("1", "P", "LA", "RGBA", "I;16")]
    for data in (*map(saved, others), wide, b"", good[:-1], good + b"x", good[:33] + good[-12:]):
        with pytest.raises(ValueError, match="no PNG of ours"):
            png.size(data)


@given(at=st.integers(0), to=st.integers(0, 255))
def test_a_byte_that_changed_is_seen(at: int, to: int) -> None:
    good = png.encode(drawn(5, 4, True))
    at %= len(good)
    if good[at] != to:
        with pytest.raises(ValueError, match="no PNG of ours"):
            png.size(good[:at] + bytes([to]) + good[at + 1 :])
