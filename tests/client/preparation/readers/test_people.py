"""Whom a file is about: known by the same unit as its documents, and in none of them."""

import io
from pathlib import Path

import pydicom
import pytest
from client.preparation.made import HL7, dicom, documents, fhir, found, note

from fedward_client.preparation.documents import Person
from fedward_shared.errors import Unreadable

PATIENT: dict[str, object] = {
    "resourceType": "Patient",
    "id": "4711",
    "name": [{"given": ["Jane", "Q."], "family": "Doe"}, {"text": "Jane Roe"}],
    "identifier": [{"value": "MRN-007"}],
    "telecom": [
        {"system": "phone", "value": "555-0100"},
        {"system": "email", "value": "j@d.example"},
    ],
    "address": [{"line": ["1 Elm Street"], "city": "Springfield", "postalCode": "01101"}],
}


def people(folder: Path, name: str, data: bytes) -> list[Person]:
    return [one for one in found(folder, name, data) if isinstance(one, Person)]


def test_a_patient_of_fhir(tmp_path: Path) -> None:
    data = fhir(PATIENT, note())
    [person] = people(tmp_path, "b.json", data)
    [document] = documents(tmp_path, "b.json", data)
    assert person.unit == document.fields["unit"]
    assert person.known == (
        ("name", "Jane Q. Doe"),
        ("name", "Jane Roe"),
        ("record", "MRN-007"),
        ("phone", "555-0100"),
        ("email", "j@d.example"),
        ("place", "1 Elm Street"),
        ("place", "Springfield"),
        ("place", "01101"),
    )
    assert people(tmp_path, "b.json", fhir(PATIENT | {"id": None})) == []
    with pytest.raises(Unreadable):
        people(tmp_path, "b.json", fhir(PATIENT | {"name": [{"given": "Jane"}]}))


def test_the_patient_of_a_message(tmp_path: Path) -> None:
    who = "|MRN7|Doe^Jane^Q||19800102|F|||1 Elm St^^Springfield^MA^01101||555"
    more = HL7.replace("||Doe^Jane", who)
    [person] = people(tmp_path, "a.hl7", more.encode())
    assert person.unit == "4711"
    assert ("name", "Jane Q Doe") in person.known
    assert ("record", "MRN7") in person.known
    assert {("place", "1 Elm St"), ("place", "Springfield"), ("place", "01101")} <= {*person.known}
    assert ("phone", "555") in person.known


def test_the_patient_of_an_image(tmp_path: Path) -> None:
    data = pydicom.dcmread(io.BytesIO(dicom()))
    data.PatientName, data.OperatorsName = "Doe^Jane", "Roe^Richard"
    file = io.BytesIO()
    data.save_as(file)
    [person] = people(tmp_path, "ct.dcm", file.getvalue())
    [document] = documents(tmp_path, "ct.dcm", file.getvalue())
    assert person.unit == document.fields["unit"]
    assert {("name", "Doe^Jane"), ("name", "Roe^Richard")} <= {*person.known}
    assert "Doe" not in document.text


def test_names_in_columns_of_their_own(tmp_path: Path) -> None:
    data = b"mrn,Last_Name,first_name,finding\n7,Doe,Jane,cough\n,Roe,Rick,fever\n8,,,well\n"
    [person] = people(tmp_path, "a.csv", data)
    assert (person.unit, {*person.known}) == ("7", {("name", "Doe"), ("name", "Jane")})
    assert [one.text for one in documents(tmp_path, "a.csv", data)] == [
        "finding: cough",
        "finding: fever",
        "finding: well",
    ]
