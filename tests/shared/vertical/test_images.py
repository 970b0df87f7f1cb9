"""Images in a column: what is read of them, and that nothing else is."""

import base64
import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from fedward_shared.errors import DataError
from fedward_shared.vertical.columns import ImageColumn, TableTerms
from fedward_shared.vertical.encoding import encode
from fedward_shared.vertical.images import GREY, MOST_PIXELS, pixels

GREYS = ImageColumn(name="scan", height=8, width=12, channels=1)
COLOURS = ImageColumn(name="photo", height=8, width=12)


def written(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


def chunk(kind, content):
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(width, height, *chunks, bits=8):
    """A file that says of itself what it may not hold."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    whole = b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")
    return base64.b64encode(whole).decode()


def rows(width, height):
    return chunk(b"IDAT", zlib.compress(bytes(height * (width + 1))))


def test_an_image_of_the_columns_size_is_read_as_it_is():
    value_HWK = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    found = pixels(COLOURS, written(Image.fromarray(value_HWK)))
    assert found.shape == (3, 8, 12)
    assert (found == value_HWK.transpose(2, 0, 1)).all()
    grey = pixels(GREYS, written(Image.fromarray(value_HWK[:, :, 0])))
    assert (grey[0] == value_HWK[:, :, 0]).all()


def test_another_size_is_brought_to_the_columns():
    upper = np.zeros((80, 60), np.uint8)
    upper[:40] = 255
    found = pixels(GREYS, written(Image.fromarray(upper)))[0]
    assert found.shape == (8, 12)
    assert (found[:3] == 255).all()
    assert (found[5:] == 0).all()


def test_a_jpeg_is_read_too_and_lines_in_base64_do_no_harm():
    image = Image.new("RGB", (12, 8), (200, 40, 90))
    text = written(image, "JPEG", quality=95)
    lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    found = pixels(COLOURS, lines)
    assert np.abs(found.mean(axis=(1, 2)) - [200, 40, 90]).max() < 4
    assert (found == pixels(COLOURS, text)).all()


whole = written(Image.new("L", (12, 8)))
noise = written(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)))
REFUSED = {
    "no base64": "secret!",
    "no image": base64.b64encode(b"secret").decode(),
    "another format": written(Image.new("L", (12, 8)), "GIF"),
    "cut off": base64.b64encode(base64.b64decode(noise)[:900]).decode(),
    "two bytes a channel": written(Image.fromarray(np.zeros((8, 12), np.uint16))),
    "larger than it may be": png(MOST_PIXELS, 2, rows(1, 1)),
    "larger than Pillow takes": png(2**16, 2**16, rows(1, 1)),
    "text that unpacks to much": png(
        12, 8, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**25))), rows(12, 8)
    ),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_image_or_too_much_of_one_is_refused_by_row(what):
    table = TableTerms(columns=(GREYS,))
    with pytest.raises(DataError) as caught:
        encode(table, [[whole, None, REFUSED[what]]])
    assert str(caught.value) == "column scan: 1 of its values are no image (rows 3)"
    assert caught.value.__cause__ is None


def test_an_image_of_as_many_pixels_as_there_may_be_is_read_and_no_more_unpacked(monkeypatch):
    side = int(MOST_PIXELS**0.5)
    assert pixels(GREYS, written(Image.new("1", (side, side)))).max() == 0
    larger = written(Image.new("1", (side, side + 1)))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was unpacked"))
    with pytest.raises(ValueError, match="no image"):
        pixels(GREYS, larger)


@given(st.binary(max_size=300), st.booleans())
def test_whatever_stands_there_it_is_an_image_or_a_value_error(content, as_png):
    text = png(12, 8, content) if as_png else base64.b64encode(content).decode()
    with contextlib.suppress(ValueError):
        assert pixels(GREYS, text).shape == (1, 8, 12)


def test_where_no_image_is_there_is_grey_and_a_flag():
    table = TableTerms(columns=(COLOURS,))
    found = encode(table, [[written(Image.new("RGB", (12, 8))), "", None]])
    assert found.numbers_NF.tolist() == [[0], [1], [1]]
    [pixel_NKHW] = found.contents
    assert pixel_NKHW.shape == (3, 3, 8, 12)
    assert int(pixel_NKHW[0].max()) == 0
    assert set(pixel_NKHW[1:].flatten().tolist()) == {GREY}
