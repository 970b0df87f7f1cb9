"""Tables: encodings, separators, columns that are known, and tables that are none."""

import io
import zipfile
from pathlib import Path

import polars as pl
import pytest
from client.preparation.made import NOTE, documents, found, remarks, table
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation.documents import Origin
from fedward_client.preparation.readers import bounded, tables
from fedward_shared.errors import Unreadable

GERMAN = "patient;note\n1;Übelkeit, schläft schlecht, größere Öffnung, fühlt Müdigkeit\n" * 3
CHINESE = (
    "病人,text\n1,患者咳嗽三天，没有发烧，血压正常，建议休息并多喝水。\n2,右上腹疼痛两小时。\n"
)


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
def test_the_same_in_all_three_forms(tmp_path: Path, kind: str) -> None:
    first, second = documents(tmp_path, f"notes.{kind}", table(kind))
    assert (first.text, dict(first.fields)) == (NOTE, {"unit": "007", "code": "R05"})
    assert (second.text, dict(second.fields)) == ("Ünwell", {"unit": "8"})


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        ("text\nÜbel".encode(), None),
        ("text\nÜbel".encode("utf-8-sig"), "utf-8-sig"),
        ("text\nÜbel".encode("utf-16"), "utf-16"),
        (CHINESE.encode("gb18030"), "gb18030"),
        (GERMAN.encode("cp1252"), "cp1252"),
    ],
)
def test_encodings(tmp_path: Path, data: bytes, taken: str | None) -> None:
    said = remarks(tmp_path, "a.csv", data)
    assert said == ([] if taken is None else [f"read as {taken}"])
    one = documents(tmp_path, "a.csv", data)[0]
    assert "Ü" in one.text or "咳嗽" in one.text


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_without_a_column_of_texts_all_of_them_are(tmp_path: Path, separator: str) -> None:
    lines = [["mrn", "Hb", "comment"], ["7", "12", '"two\nlines"'], ["8", "", ""]]
    data = "\r\n".join(map(separator.join, lines)).encode()
    one, two = found(tmp_path, "a.csv", data)
    assert one.text == "Hb: 12\ncomment: two\nlines"
    assert one.provenance.place == "line 3"
    assert two.text == "no text"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a,b\n1\n", "line 2: 1 values under 2 columns"),
        (b'a,b\n1,"2\n', "line 2: unexpected end of data"),
        (b"a,a\n1,2\n", "two columns have the same name"),
        (b"a\nx\0y\n", "has NUL bytes"),
        (",".join(map(str, range(5000))).encode(), "has 5,000 columns"),
        (b"text\n" + b"x" * (2**20 + 1), "line 2: field larger"),
    ],
)
def test_what_is_no_table(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        documents(tmp_path, "a.csv", data)


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LONGEST_LINE", 1000)
    with pytest.raises(Unreadable, match="line 2 is longer than 1,000"):
        documents(tmp_path, "a.csv", b"text\n" + b"x" * 1001)


def test_a_spreadsheet_that_unpacks_to_too_much(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (tables.MOST_UNPACKED + 1))
    with pytest.raises(Unreadable, match="unpacks to 268,435,457 bytes"):
        documents(tmp_path, "a.xlsx", bomb.getvalue())


def test_columns_of_lists(tmp_path: Path) -> None:
    file = io.BytesIO()
    pl.DataFrame({"text": [["a"]]}).write_parquet(file)
    with pytest.raises(Unreadable, match="which are no text"):
        documents(tmp_path, "a.parquet", file.getvalue())


def test_parquet_keeps_the_order_of_more_than_one_batch(tmp_path: Path) -> None:
    file = io.BytesIO()
    texts = [f"note {number}" for number in range(3 * tables.BATCH + 1)]
    pl.DataFrame({"text": texts}).write_parquet(file, row_group_size=100)
    read = documents(tmp_path, "a.parquet", file.getvalue())
    assert [one.text for one in read] == texts
    assert read[-1].provenance.place == f"record {len(texts)}"


@given(rows=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1)))
def test_what_a_writer_of_csv_wrote(tmp_path_factory: pytest.TempPathFactory, rows) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    pl.DataFrame(
        {"text": rows, "x": ["1"] * len(rows)}, {"text": pl.String, "x": pl.String}
    ).write_csv(path)
    read = list(tables.read(path, Origin("written.csv", "tables/1")))
    assert [one.text for one in read] == [row.strip() or "no text" for row in rows]
