"""Where in a DICOM file's pixels there may be text that was burnt in, as its header tells.

Nobody looks for letters: what may have them is used only where something says what to make black.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

DETECTED = frozenset({"CT", "DX", "MG", "MR", "NM", "PT"})
"""Modalities whose pixels come from a detector. All others have been seen to have text in them."""

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""With which the classes of secondary captures begin: pictures of a screen, and scanned paper."""

GREY = "MONOCHROME"
"""What detectors give; where there is colour, somebody drew it."""

SCREEN = "SCREEN"
"""In an image's type, as in SCREEN SAVE."""


class Region(NamedTuple):
    """Rows and columns that show what was measured, as slices have them."""

    top: int
    bottom: int
    left: int
    right: int


def may_be(data: Any) -> bool:
    """Whether text may be burnt in: the file says so, or does not say no and is of a kind that may."""
    said = _said(data)
    if said in ("YES", "NO"):
        return said == "YES"
    return (
        str(data.get("Modality", "")) not in DETECTED
        or not str(data.get("PhotometricInterpretation", "")).startswith(GREY)
        or str(data.get("SOPClassUID", "")).startswith(CAPTURE)
        or SCREEN in str(data.get("ImageType", "")).upper()
    )


def is_said(data: Any) -> bool:
    """Whether the file says that there is text."""
    return _said(data) == "YES"


def regions(data: Any) -> list[Region]:
    """What ultrasound's regions show; what is outside of all of them is the screen's frame.

    None where one does not lie within the picture: then they are those of another, from which this one
    was scaled or cut.
    """
    height, width = int(data.Rows), int(data.Columns)
    found = []
    for item in data.get("SequenceOfUltrasoundRegions") or ():
        corner = [
            item.get(f"RegionLocation{name}") for name in ("MinY0", "MaxY1", "MinX0", "MaxX1")
        ]
        if not all(isinstance(value, int) for value in corner):
            return []
        top, bottom, left, right = corner
        if not (0 <= top <= bottom <= height and 0 <= left <= right <= width):
            return []
        found.append(Region(top, bottom + 1, left, right + 1))
    return found


def blacken_outside(pixel_HW: Any, shown: Sequence[Region]) -> None:
    """Sets [H, W] or [H, W, 3] to 0 outside of all regions."""
    kept = [pixel_HW[top:bottom, left:right].copy() for top, bottom, left, right in shown]
    pixel_HW[:] = 0
    for (top, bottom, left, right), part in zip(shown, kept, strict=True):
        pixel_HW[top:bottom, left:right] = part


def _said(data: Any) -> str:
    return str(data.get("BurnedInAnnotation") or "").strip().upper()
