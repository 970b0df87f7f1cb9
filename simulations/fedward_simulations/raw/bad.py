"""What lies in a ward's folder that no reader should take, each with the reason that is given for it."""

import copy
import io
import json
import os
import random
import zipfile
from functools import cache
from typing import Any

import polars as pl

from fedward_simulations.raw import dicom, pdf
from fedward_simulations.raw.items import Item
from fedward_simulations.raw.ward import TRUTH, Expected, Ward

AT = "Archive/unsorted"
UNKNOWN = "of no known kind, neither by its first bytes nor by its ending"
LONG_LINE = 2**24 + 1
"""One character more than the readers take."""

UNPACKED = 2**28 + 1
BLOCK = 2**20
LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)
"""Eight entities, each ten times the one before."""


def everything(ward: Ward, draw: random.Random, some: Item, long_line: int) -> None:
    """One of each. `long_line`: the characters of a line that does not end."""
    _kinds(ward, draw)
    _documents(ward, draw, some)
    _tables(ward, some)
    _long_lines(ward, long_line)
    _images(ward, some)
    _links(ward)


def _kinds(ward: Ward, draw: random.Random) -> None:
    """What is of no kind that is read, is empty, or says something else than it is."""
    ward.bad(f"{AT}/empty.csv", b"", "the file is empty")
    ward.bad(f"{AT}/Thumbs.db", b"\xd0\xcf\x11\xe0" + draw.randbytes(500), UNKNOWN)
    ward.bad(f"{AT}/IMG_0001.jpg", b"\xff\xd8\xff\xe0" + draw.randbytes(900), UNKNOWN)
    ward.bad(f"{AT}/letter.docx", _zip({"word/document.xml": "<w:t>Dear colleague</w:t>"}), UNKNOWN)
    cda = f"<?xml version='1.0'?>{LAUGHS}<ClinicalDocument>&i;</ClinicalDocument>"
    ward.bad(f"{AT}/cda.xml", cda.encode(), UNKNOWN)
    ward.bad(
        f"{AT}/nul.txt",
        b"Cough.\0\0\0 No fever.",
        "has NUL bytes, and no mark of UTF-16 before them",
    )
    path = ward.bad(
        f"{AT}/open.sql.toml",
        b'url = "sqlite://"\nomop = true\n',
        "others may read or write it: chown it to who reads, and chmod 600",
    )
    path.chmod(0o644)


def _documents(ward: Ward, draw: random.Random, some: Item) -> None:
    """PDF, FHIR and HL7 that are locked, cut off, or deeper than they may be; and PDF that would act."""
    made = _page(some)
    ward.bad(f"{AT}/cut-off.pdf", made[: len(made) // 2], "is cut off: no %%EOF at its end")
    locked = _locked(draw, some)
    ward.bad(f"{AT}/locked.pdf", locked, "is encrypted; remove its password first")
    for name, action in ACTIONS.items():
        page = Expected("page 1", some.text, pdf.PAGE, "words", name, {"action": name})
        ward.put("pdf", f"{AT}/{name}.pdf", _acting(made, action), [page])
    bundle = json.dumps({"resourceType": "Bundle", "entry": [{"resource": {}}]}).encode()
    ward.bad(f"{AT}/cut-off.json", bundle[:-12], "no whole JSON")
    deep = b'{"resourceType": "Bundle", "entry": [' + b"[" * 5000 + b"]" * 5000 + b"]}"
    ward.bad(f"{AT}/deep.json", b"\n" + deep, "values within more than 256 values")
    ward.bad(f"{AT}/deep.ndjson", deep, "cannot be read: RecursionError")
    headless = b"PID|1||4711^^^NORTH\rOBX|1|TX|NOTE||Cough."
    ward.bad(f"{AT}/headless.hl7", headless, "line 1: a segment before the header of its message")


ACTIONS = {
    "javascript": {"/S": "/JavaScript", "/JS": "app.alert('opened')"},
    "launch": {"/S": "/Launch", "/F": "calc.exe"},
}


def _page(some: Item) -> bytes:
    made = pdf.book()
    made.add_page()
    made.multi_cell(0, pdf.LINE, some.text, align="L")
    return bytes(made.output())


def _locked(draw: random.Random, some: Item) -> bytes:
    made = pdf.book()
    made.set_encryption(owner_password="owner", user_password="secret")  # noqa: S106 (no secret)
    made._security_handler.get_random_bytes = draw.randbytes
    made.add_page()
    made.multi_cell(0, pdf.LINE, some.text, align="L")
    return bytes(made.output())


def _acting(made: bytes, action: dict[str, str]) -> bytes:
    """With what happens when it is opened."""
    from pypdf import PdfWriter
    from pypdf.generic import DictionaryObject, NameObject, TextStringObject

    writer = PdfWriter(clone_from=io.BytesIO(made))
    said: Any = DictionaryObject({NameObject("/Type"): NameObject("/Action")})
    for key, value in action.items():
        said[NameObject(key)] = (
            NameObject(value) if value.startswith("/") else TextStringObject(value)
        )
    writer.root_object[NameObject("/OpenAction")] = said
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _tables(ward: Ward, some: Item) -> None:
    """Tables that are uneven, cut off, or unpack to more than a disk holds."""
    ward.bad(
        f"{AT}/uneven.csv", b"text,code\nCough.,R05\nFever.\n", "line 3: 1 values under 2 columns"
    )
    ward.bad(f"{AT}/twice.csv", b"text,text\na,b\n", "two columns have the same name")
    out = io.BytesIO()
    pl.DataFrame({"text": [some.text]}).write_parquet(out)
    ward.bad(f"{AT}/cut-off.parquet", out.getvalue()[:-40], "cannot be read: ComputeError")
    bomb = _bomb()
    ward.bad(
        f"{AT}/bomb.xlsx", bomb, f"unpacks to {UNPACKED:,} bytes; at most {UNPACKED - 1:,} are read"
    )
    ward.bad(f"{AT}/cut-off.xlsx", bomb[:-100], "cannot be read: BadZipFile")
    mixed = "Müdigkeit seit drei Tagen.\n".encode("cp1252") + "患者咳嗽三天。\n".encode() * 3
    ward.bad(f"{AT}/mixed.txt", mixed, "no text in UTF-8, UTF-16, GB18030, Windows-1252 or Latin-1")


def _zip(parts: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text)
    return out.getvalue()


@cache
def _bomb() -> bytes:
    """A quarter of a gigabyte of spaces in a quarter of a megabyte."""
    out = io.BytesIO()
    about = zipfile.ZipInfo("xl/worksheets/sheet1.xml", (2024, 1, 1, 0, 0, 0))
    about.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w") as archive, archive.open(about, "w") as part:
        for at in range(0, UNPACKED, BLOCK):
            part.write(b" " * min(BLOCK, UNPACKED - at))
    return out.getvalue()


def _long_lines(ward: Ward, characters: int) -> None:
    """A line that does not end, in a table and in a text."""
    for name, begin, reason in (
        ("endless.csv", b"text\n", "line 2 is longer than 16,777,216"),
        ("endless.ndjson", b'{"resourceType": "Basic"}\n', "line 2 is longer than 16,777,216"),
    ):
        with ward.bad(f"{AT}/{name}", begin, reason).open("ab") as file:
            for at in range(0, characters, BLOCK):
                file.write(b"x" * min(BLOCK, characters - at))


def _images(ward: Ward, some: Item) -> None:
    """DICOM that is cut off, corrupt, or of a size that cannot be."""
    whole = dicom.saved(dicom.base("CT_small.dcm"))
    pixels = whole.index(b"\xe0\x7f\x10\x00")
    ward.bad(f"{AT}/cut-off.dcm", whole[:pixels], "is cut off before its pixels, or within them")
    corrupt = whole[:400] + b"corrupt " * 99
    ward.bad(f"{AT}/corrupt.dcm", corrupt, "is cut off in element (6F63,7272)")
    ward.bad(f"{AT}/headless.dcm", whole[132:], "no DICOM file: no DICM after its preamble")
    absurd = copy.deepcopy(dicom.base("CT_small.dcm"))
    absurd.Rows = absurd.Columns = 65535
    absurd.NumberOfFrames = 10**9
    absurd.PatientID = some.patient.number
    ward.bad(
        f"{AT}/absurd.dcm",
        dicom.saved(absurd),
        "says it has 1,000,000,000 frames of 65,535 × 65,535; at most 4,294,967,296 pixels can be",
    )


def _links(ward: Ward) -> None:
    """What is no file, and a name that is no text."""
    at = ward.files / AT
    for name, target, reason in (
        ("outside.json", f"../../../{TRUTH}", "a link that leads out of the folder"),
        ("nothing.txt", "gone.txt", "a link to nothing"),
        ("again.csv", "uneven.csv", "a link to what is read by its own name"),
    ):
        (at / name).symlink_to(target)
        ward.quarantined(f"{AT}/{name}", reason)
    os.mkfifo(at / "pipe.txt")
    ward.quarantined(f"{AT}/pipe.txt", "no ordinary file")
    (at / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"Cough.")
    ward.quarantined(f"{AT}/caf\\udce9.txt", "its name is not UTF-8; rename it")
