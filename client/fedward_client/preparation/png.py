"""Pictures as PNG files of one form: pixels of one byte a channel, and nothing else.

No text, time, profile or EXIF can stand in one: a chunk that is not of the pixels makes it another form.
"""

import io
import struct
import zlib
from typing import Any, NamedTuple

LARGEST_SIDE = 1024
"""Larger pictures are scaled down; the columns of vertical studies are 512 pixels wide at most."""

MOST_BYTES = 2**22
"""Of one: what its pixels take uncompressed, and some more."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3}
"""Of the colour types grey and RGB."""


class Size(NamedTuple):
    """In pixels."""

    height: int
    width: int

    def fitted(self) -> "Size":
        """With both sides within `LARGEST_SIDE`, and as they are to each other as can be."""
        scale = min(1.0, LARGEST_SIDE / max(self))
        return Size(*(max(1, round(side * scale)) for side in self))


def encode(pixel_HW: Any) -> bytes:
    """Of uint8 [H, W] or [H, W, 3], scaled down if need be; the same for the same pixels."""
    from PIL import Image

    found = Image.fromarray(pixel_HW)
    size = Size(found.height, found.width)
    if size.fitted() != size:
        height, width = size.fitted()
        found = found.resize((width, height), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    found.save(file, "PNG", compress_level=6)
    return file.getvalue()


def thumbnail(data: bytes, side: int) -> bytes:
    """Of such a file, one in which no side is longer than `side`."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("PNG",)) as found:
        found.thumbnail((side, side))
        file = io.BytesIO()
        found.save(file, "PNG")
    return file.getvalue()


def size(data: bytes) -> Size:
    """Of a PNG file in the form of `encode`; nothing is unpacked. Raises ValueError for all others."""
    if len(data) > MOST_BYTES or not data.startswith(SIGNATURE):
        raise ValueError("no PNG of ours")
    at, kinds = len(SIGNATURE), []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (0, b"")
        end = at + 12 + length
        if end > len(data) or data[end - 4 : end] != _check(data[at + 4 : end - 4]):
            raise ValueError("no PNG of ours")
        kinds.append(kind)
        at = end
    if len(kinds) < 3 or kinds[0] != b"IHDR" or kinds[-1] != b"IEND" or {*kinds[1:-1]} != {b"IDAT"}:
        raise ValueError("no PNG of ours")
    return _header(data[len(SIGNATURE) :])


def _header(chunk: bytes) -> Size:
    length, _, width, height, bits, colour, *ways = struct.unpack_from(">I4sIIBBBBB", chunk)
    if length != 13 or bits != 8 or colour not in CHANNELS or any(ways):
        raise ValueError("no PNG of ours")
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise ValueError("no PNG of ours")
    return Size(height, width)


def _check(chunk: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(chunk))
