"""Plain text, and bytes that are none."""

from pathlib import Path

import pytest
from client.preparation.made import documents, found, remarks

from fedward_client.preparation.documents import MOST_CHARACTERS
from fedward_client.preparation.readers import bounded
from fedward_shared.errors import Unreadable


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_one_document_with_lines_that_end_alike(tmp_path: Path, encoding: str) -> None:
    data = "Fühlt sich besser.\r\nKein Fieber.\r".encode(encoding)
    [one] = documents(tmp_path, "a.txt", data)
    assert one.text == "Fühlt sich besser.\nKein Fieber."
    assert one.provenance.place == "lines 1 to 2"


def test_an_encoding_that_was_found_out_is_said(tmp_path: Path) -> None:
    text = "Der Patient fühlt sich müde, schläft schlecht und hat größere Übelkeit. " * 3
    assert remarks(tmp_path, "a.txt", text.encode("cp1252")) == ["read as cp1252"]


def test_white_space(tmp_path: Path) -> None:
    [one] = found(tmp_path, "a.txt", b" \n\t\n")
    assert one.text == "nothing but white space"


def test_bytes_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreadable, match="has NUL bytes"):
        documents(tmp_path, "a.txt", bytes(range(256)) * 4)
    with pytest.raises(Unreadable, match="a text of more than"):
        documents(tmp_path, "a.txt", b"x" * (MOST_CHARACTERS + 1))
    monkeypatch.setattr(bounded, "LARGEST_SPAN", 10)
    with pytest.raises(Unreadable, match="larger than 10 bytes"):
        documents(tmp_path, "a.txt", b"x" * 11)
