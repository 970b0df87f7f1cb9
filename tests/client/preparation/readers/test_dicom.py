"""DICOM: what the profile of confidentiality leaves, reports, and headers that cannot be."""

import io
from pathlib import Path

import pytest
from client.preparation.made import dicom, documents
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR

from fedward_client.preparation import readers
from fedward_client.preparation.documents import Document
from fedward_client.preparation.readers.dicom import DESCRIBED, WORDS
from fedward_shared.errors import Unreadable

WITHHELD = {
    "PatientName": "Doe^Jane",
    "OtherPatientNames": "Roe^Jane",
    "InstitutionName": "North Hospital",
    "InstitutionAddress": "Main Street 1",
    "ReferringPhysicianName": "Who^Doctor",
    "OperatorsName": "Op^Erator",
    "StationName": "NORTHCT1",
    "AccessionNumber": "ACC4711",
    "PatientAddress": "Side Street 2",
    "DeviceSerialNumber": "SN4711",
    "PatientComments": "Sister of the mayor",
}


def changed(**values: object) -> bytes:
    """A small CT of which these elements are set."""
    data = dcmread(io.BytesIO(dicom()))
    for keyword, value in values.items():
        setattr(data, keyword, value)
    data.private_block(0x0099, "NORTH", create=True).add_new(1, "LO", "Private words")
    file = io.BytesIO()
    data.save_as(file)
    return file.getvalue()


def test_nothing_that_the_profile_takes_away_is_read(tmp_path: Path) -> None:
    data = changed(**WITHHELD, StudyDescription="CT of the chest", PatientID="4711")
    [found] = documents(tmp_path, "a.dcm", data)
    assert "Study Description: CT of the chest" in found.text
    assert found.fields == {"unit": "4711", "date": "20040119", "kind": "CT"}
    for value in [*WITHHELD.values(), "Private words"]:
        assert value not in found.text


@pytest.mark.parametrize("keyword", DESCRIBED)
def test_descriptions_are_elements_of_the_standard(keyword: str) -> None:
    assert dictionary_VR(keyword) in WORDS


def test_a_report(tmp_path: Path) -> None:
    [found] = documents(tmp_path, "a.dcm", dicom("test-SR.dcm"))
    assert found.fields["kind"] == "SR"
    assert len(found.text.splitlines()) > 3


@pytest.mark.parametrize("less", [-1, 1, 7])
def test_a_header_that_was_cut_off(tmp_path: Path, less: int) -> None:
    whole = dicom()
    value = whole.index(b"LO\x04\x00e+1") + 4  # its type and length
    with pytest.raises(Unreadable, match="is cut off in"):
        documents(tmp_path, "a.dcm", whole[: value + 1 - less])


def test_pixels_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="is cut off before its pixels"):
        documents(tmp_path, "a.dcm", dicom()[: dicom().index(b"\xe0\x7f\x10\x00")])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"Rows": 65535, "Columns": 65535, "NumberOfFrames": 10**9}, "1,000,000,000 frames"),
        ({"Rows": 0}, "0 × 128"),
        ({"NumberOfFrames": -1}, "-1 frames"),
        ({"Columns": [1, 2]}, "are no numbers"),
    ],
)
def test_sizes_that_cannot_be(tmp_path: Path, values: dict[str, object], reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        documents(tmp_path, "a.dcm", changed(**values))


def test_content_within_content(tmp_path: Path) -> None:
    part = Dataset()
    for _ in range(40):
        outer = Dataset()
        outer.ContentSequence = [part]
        part = outer
    with pytest.raises(Unreadable, match="more than 32 levels"):
        documents(tmp_path, "a.dcm", changed(ContentSequence=[part]))


def test_every_file_of_pydicom_itself() -> None:
    folder = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
    read, refused = 0, {}
    for path in sorted(folder.glob("*.dcm")):
        try:
            found = list(readers.read(path, path.name))
        except Unreadable as error:
            refused[path.name] = str(error)
        else:
            read += any(isinstance(one, Document) for one in found)
    assert read > 40
    assert set(refused.values()) <= {
        "no DICOM file: no DICM after its preamble",
        "its rows, columns or frames are no numbers",
        "does not say in which transfer syntax it is",
        "is cut off in element (300A,00B0)",
        "is cut off in element (7FE0,0010)",
    }, refused
