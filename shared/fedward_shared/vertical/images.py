"""Images as they stand in a column: a PNG or JPEG file in base64, which somebody else made.

What a file says of its size is believed only as far as `MOST_PIXELS`, and held against the bound before
anything is unpacked.
"""

import base64
import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedward_shared.vertical.columns import ImageColumn

FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 2**24
GREY = 128
"""What a picture that is not there consists of: the middle, which a reader takes for 0."""
MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK"})
"""Of one byte a channel. What has two would have to be brought to it by what is in the data."""

Pixels = NDArray[np.uint8]


def grey(column: ImageColumn) -> Pixels:
    """No picture, [K, H, W]."""
    return np.full((column.channels, column.height, column.width), GREY, np.uint8)


def pixels(column: ImageColumn, text: str) -> Pixels:
    """The image that `text` stands for, as the column has it, [K, H, W].

    Raises ValueError, which says nothing of the image, for what is no PNG or JPEG of at most
    `MOST_PIXELS` and one byte a channel.
    """
    try:
        file = io.BytesIO(base64.b64decode("".join(text.split()), validate=True))
        with Image.open(file, formats=FORMATS) as found:
            if found.width * found.height > MOST_PIXELS or found.mode not in MODES:
                raise ValueError
            whole = found.convert("L" if column.channels == 1 else "RGB")
    except (ValueError, OSError, SyntaxError, EOFError, zlib.error, Image.DecompressionBombError):
        raise ValueError("no image") from None
    fitted = whole.resize((column.width, column.height), Image.Resampling.BILINEAR)
    pixel_HWK = np.asarray(fitted, np.uint8).reshape(column.height, column.width, -1)
    return np.ascontiguousarray(pixel_HWK.transpose(2, 0, 1))
