"""DICOM: pydicom's own images, plans and reports, as those of the ward's patients."""

import copy
import io
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

from fedward_shared.errors import MissingExtra
from fedward_simulations.raw.items import Item
from fedward_simulations.raw.ward import Expected, Ward, place

BASES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "JPEG2000.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "test-SR.dcm",
    "reportsi.dcm",
    "rtplan.dcm",
)
"""Modalities and transfer syntaxes of all kinds, none larger than 50 KB."""

UID = "1.2.826.0.1.3680043.8.498"


@cache
def base(name: str) -> Any:
    """One of pydicom's own files. Raises MissingExtra."""
    try:
        from pydicom import dcmread
        from pydicom.data import get_testdata_file
    except ImportError as error:
        raise MissingExtra(
            "pydicom is not installed: pip install 'fedward-client[data]'"
        ) from error
    return dcmread(str(get_testdata_file(name, download=False)))


def studies(ward: Ward, draw: random.Random, notes: Sequence[Item]) -> None:
    """A file for each note, which stands in its header."""
    for number, one in enumerate(notes):
        data = copy.deepcopy(base(draw.choice(BASES)))
        day = one.day.strftime("%Y%m%d")
        data.SpecificCharacterSet = "ISO_IR 192"
        data.PatientID = one.patient.number
        data.PatientName = f"{one.patient.family}^{one.patient.given}"
        data.PatientBirthDate = one.patient.born.strftime("%Y%m%d")
        data.StudyDate = day
        data.StudyDescription = one.kind
        data.AdditionalPatientHistory = one.text
        data.SOPInstanceUID = f"{UID}.{draw.getrandbits(64)}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        expected = Expected.of(one, "header", day, str(data.get("Modality", "")), "part")
        name = f"{place(draw, one.day)}/DICOM/{one.patient.number}/{number:05d}.dcm"
        ward.put("dicom", name, saved(data), [expected])


def saved(data: Any) -> bytes:
    """The bytes of its file."""
    out = io.BytesIO()
    data.save_as(out)
    return out.getvalue()
