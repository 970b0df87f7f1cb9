"""Which reader a file gets, and what is said where a library is missing."""

import builtins
from pathlib import Path

import pytest
from client.preparation.made import good

from fedward_client.preparation import readers
from fedward_shared.errors import MissingExtra, Unreadable

GOOD = good()


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.txt", "plain"),
        ("bundle.json", "fhir"),
        ("notes.ndjson", "fhir"),
        ("visit.hl7", "hl7"),
        ("letter.pdf", "pdf"),
        ("notes.csv", "tables"),
        ("notes.parquet", "tables"),
        ("ct.dcm", "dicom"),
    ],
)
def test_the_reader_of_a_kind(tmp_path: Path, name: str, reader: str) -> None:
    path = tmp_path / name
    path.write_bytes(GOOD[name])
    taken = readers.recognise(path)
    assert reader == taken.NAME


@pytest.mark.parametrize(
    "name", ["bundle.json", "visit.hl7", "letter.pdf", "notes.parquet", "ct.dcm"]
)
def test_content_comes_before_the_ending(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    other = tmp_path / "as.txt"
    path.write_bytes(GOOD[name])
    other.write_bytes(GOOD[name])
    assert readers.recognise(other) is readers.recognise(path)


def test_of_no_known_kind(tmp_path: Path) -> None:
    path = tmp_path / "program.exe"
    path.write_bytes(b"MZ\x90\0")
    with pytest.raises(Unreadable, match="of no known kind"):
        list(readers.read(path, path.name))


def test_a_library_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "letter.pdf"
    path.write_bytes(GOOD["letter.pdf"])
    real = builtins.__import__

    def absent(name: str, *rest: object, **more: object) -> object:
        if name == "pypdf":
            raise ModuleNotFoundError("No module named 'pypdf'", name="pypdf")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtra, match=r"pypdf is not installed: pip install .*\[data\]"):
        list(readers.read(path, path.name))
