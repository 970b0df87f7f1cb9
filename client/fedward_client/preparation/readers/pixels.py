"""DICOM's pixels as pictures of one byte a channel: what a viewer shows first.

Grey values are cut to the file's window (PS3.3 C.11.2.1.2), brought through its look-up table where it
has no window, and else stretched over all values of the frame that are no padding. Overlays, shutters
and annotations that a viewer would draw on top are not drawn.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fedward_client.preparation.spread import MOST_PIXELS
from fedward_shared.errors import Unreadable

COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GREYS = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
NO_PICTURES = frozenset({"RTDOSE", "SEG"})
"""Modalities whose pixels are doses and segments."""

PLUGINS = ("pydicom", "pillow", "pyjpegls", "pylibjpeg", "gdcm")
"""Of pydicom: those that a site installs itself come last."""

TWELVE_BITS = ("pylibjpeg",)
"""Those that read JPEG extended of more than eight bits."""

Values = NDArray[Any]
Pixels = NDArray[np.uint8]


def why_not(data: Any) -> str:
    """Why no picture can be made of the pixels; nothing where one can."""
    shape = data.get("PhotometricInterpretation")
    many = 3 if shape in COLOURS else 1
    if str(data.get("Modality", "")) in NO_PICTURES or "PixelData" not in data:
        return "no picture"
    if shape not in (*COLOURS, *GREYS, PALETTE) or data.get("SamplesPerPixel") != many:
        return f"colours that are not read ({str(shape)[:20]})"
    if data.get("BitsAllocated") not in (8, 16) or not data.get("BitsStored"):
        return "neither 8 nor 16 bits"
    if int(data.Rows) * int(data.Columns) > MOST_PIXELS:
        return f"more than {MOST_PIXELS:,} pixels a frame"
    if data.file_meta.TransferSyntaxUID.is_encapsulated and not _plugin(data):
        return "no codec for it is installed"
    return ""


def _plugin(data: Any) -> str:
    """The name of what decodes the frames; nothing where nothing does."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    syntax = data.file_meta.TransferSyntaxUID
    try:
        known = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return ""
    twelve_bits = syntax == JPEGExtended12Bit and data.BitsStored > 8
    able = TWELVE_BITS if twelve_bits else PLUGINS
    return next((name for name in able if name in known), "")


def frames(file: BinaryIO, data: Any, chosen: Sequence[int]) -> Iterator[Pixels]:
    """The frames `chosen`, counted from 0: uint8 [H, W] or [H, W, 3].

    Of a deflated file the pixels are those of `data`; of all others `file` is read frame by frame.
    Raises Unreadable, or what pydicom raises, for pixels that are broken or not all there.
    """
    from pydicom.pixels.utils import iter_pixels

    syntax = data.file_meta.TransferSyntaxUID
    source = data if syntax.is_deflated else file
    plugin = _plugin(data) if syntax.is_encapsulated else ""
    stored = iter_pixels(source, indices=chosen, decoding_plugin=plugin)
    for index, stored_HW in zip(chosen, stored, strict=True):
        yield np.ascontiguousarray(_shown(data, index, stored_HW))


def _shown(data: Any, index: int, stored_HW: Values) -> Pixels:
    from pydicom.pixels.processing import apply_color_lut

    kind = data.PhotometricInterpretation
    if kind in COLOURS:
        return _eight_bits(stored_HW, int(data.BitsStored))
    if kind == PALETTE:
        entry = int(data.RedPaletteColorLookupTableDescriptor[2])
        return _eight_bits(apply_color_lut(stored_HW, data), entry)
    part_HW = _windowed(data, index, stored_HW)
    if kind == "MONOCHROME1":
        part_HW = 1 - part_HW
    shown_HW: Pixels = np.rint(part_HW * 255).astype(np.uint8)
    return shown_HW


def _eight_bits(value_HW: Values, bits: int) -> Pixels:
    return (value_HW >> max(0, bits - 8)).astype(np.uint8)


def _windowed(data: Any, index: int, stored_HW: Values) -> Values:
    """From 0, black, to 1, white: float32 [H, W]."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    rescale = _of_frame(data, index, "PixelValueTransformationSequence")
    slope, intercept = _number(rescale, "RescaleSlope"), _number(rescale, "RescaleIntercept")
    if data.get("ModalityLUTSequence"):
        value_HW = apply_modality_lut(stored_HW, data).astype(np.float32)
    elif slope is None or intercept is None:
        value_HW = stored_HW.astype(np.float32)
    else:
        value_HW = stored_HW.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    voi = _of_frame(data, index, "FrameVOILUTSequence")
    centre, width = _number(voi, "WindowCenter"), _number(voi, "WindowWidth")
    function = str(voi.get("VOILUTFunction") or "LINEAR")
    if centre is not None and width is not None and width > 0:
        return window(value_HW, centre, width, function)
    if data.get("VOILUTSequence"):
        looked_up_HW = apply_voi(value_HW.astype(np.int32), data).astype(np.float32)
        most = 2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1
        part_HW: Values = np.clip(looked_up_HW / most, 0, 1)
        return part_HW
    return _stretched(value_HW, ~_padding(data, stored_HW))


def window(value_HW: Values, centre: float, width: float, function: str) -> Values:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3: from 0 to 1. `width` is above 0."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (value_HW - centre) / width, -80, 80)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width <= 0:
        return (value_HW > centre).astype(np.float32)
    return np.clip((value_HW - centre) / width + 0.5, 0, 1)


def _stretched(value_HW: Values, counts_HW: Values) -> Values:
    seen = value_HW[counts_HW]
    least, most = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    if least == most:
        return np.zeros_like(value_HW)
    return np.clip((value_HW - least) / (most - least), 0, 1)


def _padding(data: Any, stored_HW: Values) -> Values:
    one = data.get("PixelPaddingValue")
    other = data.get("PixelPaddingRangeLimit")
    if not isinstance(one, int):
        return np.zeros(stored_HW.shape, bool)
    ends = (one, other if isinstance(other, int) else one)
    return (stored_HW >= min(ends)) & (stored_HW <= max(ends))


def _of_frame(data: Any, index: int, keyword: str) -> Any:
    """A group of the frame's own, or of all frames, or else the file, which has the same elements."""
    each = data.get("PerFrameFunctionalGroupsSequence") or []
    shared = data.get("SharedFunctionalGroupsSequence") or []
    for group in [*each[index : index + 1], *shared[:1]]:
        for item in group.get(keyword) or ():
            return item
    return data


def _number(item: Any, keyword: str) -> float | None:
    """The first value, as several windows may be there. Raises Unreadable for what is no number."""
    value = item.get(keyword)
    if value is None or value == "":
        return None
    try:
        number = float(value if isinstance(value, int | float | str) else value[0])
    except (TypeError, ValueError, IndexError):
        raise Unreadable(f"its {keyword} is no number") from None
    if not math.isfinite(number):
        raise Unreadable(f"its {keyword} is no number")
    return number
