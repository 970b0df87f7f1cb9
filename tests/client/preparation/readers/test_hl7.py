"""HL7 version 2: one message or many, framed or not, and what is none."""

from pathlib import Path

import pytest
from client.preparation.made import HL7, documents, remarks

from fedward_client.preparation.readers import hl7
from fedward_shared.errors import Unreadable


def test_text_and_diagnoses(tmp_path: Path) -> None:
    diagnosis, text = documents(tmp_path, "a.hl7", HL7.encode())
    assert text.text == "Cough & fever.\nBetter now.\nSeen twice."
    assert text.fields == {"unit": "4711", "date": "20260103", "kind": "ORU"}
    assert text.provenance.place == "message 1 (line 1)"
    assert diagnosis.text == "Acute bronchitis"
    assert diagnosis.fields == {
        "unit": "4711",
        "date": "20260101",
        "code": "J20.9",
        "kind": "DG1",
    }
    assert remarks(tmp_path, "a.hl7", HL7.encode()) == [
        "1 OBX of values that are no words are not read"
    ]


@pytest.mark.parametrize(
    "data",
    [
        "\r\n".join([HL7.replace("\r", "\r\n")] * 2),
        f"\x0b{HL7}\r\x1c\r\x0b{HL7}\r\x1c\r",
        f"FHS|^~\\&\rBHS|^~\\&\r{HL7}\r{HL7}\rBTS|2\rFTS|1\r",
    ],
)
def test_many_messages(tmp_path: Path, data: str) -> None:
    found = documents(tmp_path, "batch.txt", data.encode())
    assert [one.provenance.place.split(" (")[0] for one in found] == [
        "message 1",
        "message 1",
        "message 2",
        "message 2",
    ]


def test_other_separators(tmp_path: Path) -> None:
    said = HL7.replace("|", "#").replace("^", "!").replace("!~", "!~", 1)
    assert documents(tmp_path, "a.hl7", said.encode())[1].fields["unit"] == "4711"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("PID|1||4711", "before the header of its message"),
        ("FHS|^~\\&\rFTS|0", "no message"),
    ],
)
def test_what_is_no_message(tmp_path: Path, data: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        documents(tmp_path, "a.hl7", data.encode())


def test_a_message_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hl7, "LARGEST_MESSAGE", 1000)
    with pytest.raises(Unreadable, match="a message of more than 1,000 characters"):
        documents(tmp_path, "a.hl7", "\r".join([HL7, *["NTE|1||More."] * 100]).encode())
