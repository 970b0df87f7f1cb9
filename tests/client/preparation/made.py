"""Files of every kind that is read, small and good, and ways to spoil them."""

import base64
import io
import json
import random
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import polars as pl
from fpdf import FPDF
from pydicom.data import get_testdata_file

from fedward_client.preparation import readers
from fedward_client.preparation.documents import Document, Found, Picture, Remark
from fedward_client.preparation.mask import Mask

NOTE = "Cough for three days, no fever."
HL7 = "\r".join(
    [
        r"MSH|^~\&|LAB|NORTH|EHR|NORTH|20260102||ORU^R01|1|P|2.5",
        "PID|1||4711^^^NORTH||Doe^Jane",
        r"OBX|1|TX|NOTE^Note||Cough \T\ fever.\.br\Better now.||||||F|||20260103",
        "OBX|2|NM|TEMP||38.5",
        "NTE|1||Seen twice.",
        "DG1|1||J20.9^Acute bronchitis^I10||20260101",
    ]
)


def fhir(*resources: dict[str, object]) -> bytes:
    """A bundle."""
    entries = [{"resource": resource} for resource in resources]
    body = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return json.dumps(body, indent=1).encode()


def note(text: str = NOTE, number: int = 1, kind: str = "text/plain") -> dict[str, object]:
    """A document reference."""
    attachment = {"contentType": kind, "data": base64.b64encode(text.encode()).decode()}
    return {
        "resourceType": "DocumentReference",
        "id": f"d{number}",
        "type": {"text": "Progress note"},
        "subject": {"reference": "Patient/4711"},
        "date": "2026-01-02",
        "content": [{"attachment": attachment}],
    }


CONDITION: dict[str, object] = {
    "resourceType": "Condition",
    "id": "c1",
    "subject": {"reference": "Patient/4711"},
    "code": {"coding": [{"code": "J20.9", "display": "Acute bronchitis"}]},
    "onsetDateTime": "2026-01-01",
}


def pdf(*pages: str) -> bytes:
    """A page for each text; an empty one has a picture alone."""
    from PIL import Image

    book = FPDF()
    book.set_creation_date(datetime(2026, 1, 2, tzinfo=UTC))
    book.set_font("Helvetica", size=11)
    for text in pages:
        book.add_page()
        if text:
            book.multi_cell(0, 6, text)
        else:
            book.image(Image.new("L", (40, 40), 200), w=100)
    return bytes(book.output())


def table(kind: str) -> bytes:
    """Two notes of two people."""
    frame = pl.DataFrame(
        {"patient_id": ["007", "8"], "text": [NOTE, "Ünwell"], "code": ["R05", ""]}
    )
    file = io.BytesIO()
    if kind == "parquet":
        frame.write_parquet(file)
    elif kind == "xlsx":
        frame.write_excel(file)
    else:
        frame.write_csv(file)
    return file.getvalue()


def dicom(name: str = "CT_small.dcm") -> bytes:
    """One of pydicom's own."""
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found).read_bytes()


def film(container: str = "mp4", codec: str = "mpeg4", frames: int = 12, **mux: str) -> bytes:
    """48 × 64, a key frame every four frames: a bar that moves, and a white line at the top."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=mux) as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.gop_size = 64, 48, 4
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            pixel_HWK = np.full((48, 64, 3), 40, np.uint8)
            pixel_HWK[:12] = 255
            pixel_HWK[24:, 4 * number : 4 * number + 8] = 200
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixel_HWK, "rgb24")))
        out.mux(stream.encode(None))
    return file.getvalue()


def good() -> dict[str, bytes]:
    """A file of each kind, by its name."""
    return {
        "a.txt": NOTE.encode(),
        "bundle.json": fhir(note(), CONDITION),
        "notes.ndjson": b"\n".join(json.dumps(note(number=n)).encode() for n in (1, 2)),
        "visit.hl7": HL7.encode(),
        "letter.pdf": pdf(NOTE, "Second page."),
        "notes.csv": table("csv"),
        "notes.xlsx": table("xlsx"),
        "notes.parquet": table("parquet"),
        "ct.dcm": dicom(),
        "report.dcm": dicom("test-SR.dcm"),
        "screen.dcm": dicom("SC_rgb_small_odd_jpeg.dcm"),
        "film.mp4": film(),
    }


def found(folder: Path, name: str, data: bytes, mask: Mask | None = None) -> list[Found]:
    """What is read of `data`."""
    path = folder / name
    path.write_bytes(data)
    return list(readers.read(path, name, mask))


def documents(folder: Path, name: str, data: bytes) -> list[Document]:
    """The documents alone."""
    return [one for one in found(folder, name, data) if isinstance(one, Document)]


def remarks(folder: Path, name: str, data: bytes, mask: Mask | None = None) -> list[str]:
    """The remarks alone."""
    return [one.text for one in found(folder, name, data, mask) if isinstance(one, Remark)]


def pictures(folder: Path, name: str, data: bytes, mask: Mask | None = None) -> list[Picture]:
    """The pictures alone."""
    return [one for one in found(folder, name, data, mask) if isinstance(one, Picture)]


def mangled(data: bytes, draw: random.Random) -> bytes:
    """Cut off, overwritten, with parts twice, gone, or of nothing but one byte."""
    spoilt = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(spoilt) + 1)
        length = draw.choice((1, 4, 64, 512))
        match draw.randrange(5):
            case 0:
                del spoilt[max(at, 1) :]
            case 1:
                spoilt[at : at + length] = draw.randbytes(length)
            case 2:
                del spoilt[at : at + length]
            case 3:
                spoilt[at:at] = spoilt[at : at + length] * draw.randint(1, 9)
            case _:
                spoilt[at : at + length] = bytes([draw.choice((0, 32, 48, 91, 255))]) * length
    return bytes(spoilt)
