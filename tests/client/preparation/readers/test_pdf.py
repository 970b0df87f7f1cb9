"""PDF: pages, columns, scans, and files that are locked or cut off."""

from pathlib import Path

import pytest
from client.preparation.made import NOTE, documents, pdf, remarks
from fpdf import FPDF

from fedward_client.preparation.readers import pdf as reader
from fedward_shared.errors import Unreadable

LEFT = "The patient came with a cough that had lasted for three days and did not get better. " * 4
RIGHT = (
    "On the second day the fever went down and she was able to walk again without any help. " * 4
)


def test_page_by_page(tmp_path: Path) -> None:
    first, second = documents(tmp_path, "a.pdf", pdf(NOTE, "Second page."))
    assert (first.text, first.provenance.place) == (NOTE, "page 1")
    assert (second.text, second.provenance.place) == ("Second page.", "page 2")


def test_a_scan_is_said_to_be_one(tmp_path: Path) -> None:
    assert len(documents(tmp_path, "a.pdf", pdf(NOTE, ""))) == 1
    assert remarks(tmp_path, "a.pdf", pdf(NOTE, "")) == [
        "an image without text: scanned, and not recognised"
    ]


def test_columns_of_prose_one_after_the_other(tmp_path: Path) -> None:
    book = FPDF()
    book.set_font("Helvetica", size=9)
    book.add_page()
    for at, text in ((10, LEFT), (110, RIGHT)):
        book.set_xy(at, 20)
        book.multi_cell(85, 5, text, align="L")
    [page] = documents(tmp_path, "a.pdf", bytes(book.output()))
    assert " ".join(page.text.split()) == " ".join((LEFT + RIGHT).split())


def test_rows_of_a_table_stay_rows(tmp_path: Path) -> None:
    book = FPDF()
    book.set_font("Helvetica", size=9)
    book.add_page()
    rows = [(f"Value {number}", f"{number}.5", "mg/dl") for number in range(8)]
    with book.table() as table:
        for row in rows:
            table.row(row)
    [page] = documents(tmp_path, "a.pdf", bytes(book.output()))
    lines = [line.split("\t") for line in page.text.splitlines() if line.strip()]
    assert lines == [list(row) for row in rows]


def test_encrypted(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    for password, readable in (("", True), ("secret", False)):
        book = FPDF()
        book.set_encryption(owner_password="owner", user_password=password)
        book.set_font("Helvetica", size=11)
        book.add_page()
        book.cell(text=NOTE)
        data = bytes(book.output())
        if readable:
            assert documents(tmp_path, "a.pdf", data)[0].text == NOTE
        else:
            with pytest.raises(Unreadable, match="is encrypted"):
                documents(tmp_path, "a.pdf", data)


def test_cut_off(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="is cut off"):
        documents(tmp_path, "a.pdf", pdf(NOTE)[:-10])


def test_too_many_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_PAGES", 1)
    with pytest.raises(Unreadable, match="has 2 pages"):
        documents(tmp_path, "a.pdf", pdf(NOTE, NOTE))
