"""DICOM: the words in a file's header and in structured reports, and its frames as pictures.

Of the header, what the Basic Application Level Confidentiality Profile (PS3.15, table E.1-1) keeps is
read, and no private element. Beyond it are read the descriptions of `DESCRIBED` and the text of
reports, as its options Clean Descriptors and Clean Structured Content foresee: they may name people, and
are to be cleaned like every other text. The patient's id becomes the document's unit; the name is never
read.
"""

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from fedward_client.preparation.documents import Found, Origin
from fedward_client.preparation.png import Size
from fedward_client.preparation.readers import burnt_in, pixels, video
from fedward_client.preparation.spread import MOST_FRAMES, spread
from fedward_shared.errors import Unreadable

NAME, VERSION = "dicom", 3
ENDINGS: tuple[str, ...] = (".dcm", ".dicom")
TABLE = "dicomfields_2026c"
MOST_PIXELS = 2**32
"""Rows by columns by frames: 4,096 frames of 1,024 × 1,024."""

LARGEST_ELEMENT = 2**20
"""In bytes: what is larger stays in the file."""

UNDEFINED = 2**32 - 1
"""The length of an element that ends with a delimiter."""

DEEPEST = 32
WORDS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
PIXELS_GROUP = 0x7FE0
DESCRIBED = (
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
    "ReasonForStudy",
    "AdmittingDiagnosesDescription",
    "AdditionalPatientHistory",
    "ImageComments",
    "AcquisitionDeviceProcessingDescription",
    "DerivationDescription",
    "ContrastBolusAgent",
)


NAMES = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
)
NUMBERS = {
    "PatientID": "record",
    "AccessionNumber": "record",
    "PatientAddress": "place",
    "PatientTelephoneNumbers": "phone",
}
"""None of these gets into a document: they are looked for in its text."""


def takes(head: bytes) -> bool:
    """The preamble's end; a file without one goes by its ending."""
    return head[128:132] == b"DICM"


def read(path: Path, origin: Origin) -> Iterator[Found]:
    """One document, pictures, and a remark on what becomes of the pixels."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    with pydicom.config.disable_value_validation(), path.open("rb") as file:
        try:
            data = pydicom.dcmread(file, defer_size=LARGEST_ELEMENT)
        except InvalidDicomError:
            raise Unreadable("no DICOM file: no DICM after its preamble") from None
        if "TransferSyntaxUID" not in data.file_meta:
            raise Unreadable("does not say in which transfer syntax it is")
        if not data.file_meta.TransferSyntaxUID.is_deflated:
            _check_whole(data, path.stat().st_size)
        yield from _found(data, file, origin)


def _check_whole(data: Any, size: int) -> None:
    """pydicom takes what is left of a file of `size` bytes that was cut off for all of it."""
    if "Rows" in data and not any(keyword in data for keyword in PIXELS):
        raise Unreadable("is cut off before its pixels, or within them")
    end = size
    for tag in data.keys():  # noqa: SIM118 - a dataset iterates over its elements
        raw = data.get_item(tag, keep_deferred=True)
        begin, length = getattr(raw, "value_tell", None), getattr(raw, "length", UNDEFINED)
        end = size if begin is None or length == UNDEFINED else begin + length
        if end > size:
            raise Unreadable(f"is cut off in element {tag}")
    if end < size:
        raise Unreadable("is cut off in the head of an element")


def _found(data: Any, file: BinaryIO, origin: Origin) -> Iterator[Found]:
    if not len(data):
        raise Unreadable("no element is in it, or it is cut off within its pixels")
    described = _pixels(data)
    about = {"unit": _value(data, "PatientID"), "date": _value(data, "StudyDate")}
    about["kind"] = _value(data, "Modality")
    known = [("name", _value(data, keyword)) for keyword in NAMES]
    known += [(kind, _value(data, keyword)) for keyword, kind in NUMBERS.items()]
    yield from origin.person("header", about["unit"], known)
    said = [*_header(data), *_report(data, 0)]
    if said:
        yield origin.document("header", "\n".join(said), **about)
    else:
        yield origin.remark("header", "no words")
    if described:
        yield from _pictures(data, file, described, about, origin)


def _pictures(
    data: Any, file: BinaryIO, described: str, about: dict[str, str], origin: Origin
) -> Iterator[Found]:
    """Of frames at equal distances, and a remark where something of them is left out."""
    film = _film(data, file)
    if why := _why_not(data, film, origin):
        yield origin.remark("pixels", f"{described}: not used, {why}")
        return
    keys = video.look(film).keys if film else range(int(data.get("NumberOfFrames") or 1))
    chosen = [keys[part] for part in spread(len(keys), MOST_FRAMES)]
    may_be = burnt_in.may_be(data)
    shown = burnt_in.regions(data) if may_be else []
    mask = origin.mask if may_be and origin.mask and any(origin.mask) else None
    size = Size(int(data.Rows), int(data.Columns))
    notes = {
        f"{len(chosen)} frames are used": len(chosen) < int(data.get("NumberOfFrames") or 1),
        "black outside of its ultrasound regions": shown,
        "black at its edges": mask,
        "scaled down to {} × {}".format(*size.fitted()): size.fitted() != size,
    }
    if any(notes.values()):
        told = ", ".join(note for note, is_so in notes.items() if is_so)
        yield origin.remark("pixels", f"{described}: {told}")
    found = video.decoded(film, chosen) if film else pixels.frames(file, data, chosen)
    for number, pixel_HW in zip(chosen, found, strict=True):
        if shown:
            burnt_in.blacken_outside(pixel_HW, shown)
        if mask:
            mask.blacken(pixel_HW)
        yield origin.picture(f"frame {number + 1}", pixel_HW, **about)


def _film(data: Any, file: BinaryIO) -> BinaryIO | None:
    """What is in the frames' place where they are a video."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets
    from pydicom.uid import MPEGTransferSyntaxes

    if data.file_meta.TransferSyntaxUID not in MPEGTransferSyntaxes or "PixelData" not in data:
        return None
    file.seek(data.get_item("PixelData", keep_deferred=True).value_tell)
    parse_basic_offsets(file)
    return io.BytesIO(b"".join(generate_fragments(file)))


def _why_not(data: Any, film: BinaryIO | None, origin: Origin) -> str:
    """Why nothing is shown of the pixels; nothing where something is."""
    regions = not burnt_in.is_said(data) and burnt_in.regions(data)
    if burnt_in.may_be(data) and origin.mask is None and not regions:
        return "text may be burnt in; see --mask"
    if film is None:
        return pixels.why_not(data)
    return "" if video.takes(film.read(video.HEAD)) else "a stream without a container"


def _header(data: Any) -> Iterator[str]:
    touched = _touched()
    for tag in data.keys():  # noqa: SIM118 - a dataset iterates over its elements
        if tag.group == PIXELS_GROUP:
            continue  # they would be loaded
        element = data[tag]
        described = element.keyword in DESCRIBED
        if (
            element.tag.is_private
            or element.VR not in WORDS
            or not (described or (element.tag.group, element.tag.element) not in touched)
        ):
            continue
        if text := _words(element.value):
            yield f"{element.name}: {text}"


def _report(item: Any, depth: int) -> Iterator[str]:
    """The text of a structured report, in its order, each after the name of what it says."""
    if depth > DEEPEST:
        raise Unreadable(f"content within more than {DEEPEST} levels of content")
    for part in item.get("ContentSequence") or ():
        name = _meaning(part, "ConceptNameCodeSequence")
        written = part.get("ValueType") == "TEXT"
        text = _words(part.get("TextValue")) if written else _meaning(part, "ConceptCodeSequence")
        if text:
            yield f"{name}: {text}" if name else text
        yield from _report(part, depth + 1)


def _meaning(part: Any, keyword: str) -> str:
    for code in part.get(keyword) or ():
        return _words(code.get("CodeMeaning"))
    return ""


def _pixels(data: Any) -> str:
    """What the pixels are, from the header alone. Raises Unreadable for a size that cannot be."""
    rows, columns = data.get("Rows"), data.get("Columns")
    if rows is None and columns is None:
        return ""
    frames = data.get("NumberOfFrames") or 1
    sizes = [rows, columns, frames]
    try:
        height, width, count = (int(size) for size in sizes)
    except (TypeError, ValueError):
        raise Unreadable("its rows, columns or frames are no numbers") from None
    if min(height, width, count) < 1 or height * width * count > MOST_PIXELS:
        raise Unreadable(
            f"says it has {count:,} frames of {height:,} × {width:,}; at most {MOST_PIXELS:,} "
            "pixels can be"
        )
    syntax = data.file_meta.TransferSyntaxUID.name
    frame = "frame" if count == 1 else "frames"
    return f"{count} {frame} of {height} × {width}, {syntax}"


@cache
def _touched() -> frozenset[tuple[int, int]]:
    """The elements that the profile removes, empties or replaces."""
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    table = dicom_anonymization_database_selector(TABLE)
    return frozenset(tag for tags in table.values() for tag in tags if len(tag) == 2)


def _value(data: Any, keyword: str) -> str:
    return _words(data.get(keyword, ""))


def _words(value: Any) -> str:
    if value is None:
        return ""
    parts = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
    return "; ".join(filter(None, (str(part).strip(" \0") for part in parts)))
