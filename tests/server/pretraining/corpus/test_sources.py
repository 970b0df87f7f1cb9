"""Documents of files: all of them in one order, what cannot be read counted and named."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from fedward_server.pretraining.corpus import sources
from fedward_server.pretraining.corpus.sources import Document, SourceTerms, Tally
from fedward_shared.errors import DataError


def terms(kind: str, *paths: str, **others: Any) -> SourceTerms:
    return SourceTerms.model_validate(
        {"name": "icd", "paths": paths, "format": kind, "language": "en"} | others
    )


def read(
    source: SourceTerms, root: Path, file: int = 0, record: int = 0
) -> tuple[list[Document], Tally]:
    tally = Tally()
    found = sources.records(source, sources.files(source, root), file, record)
    return list(tally.documents(source, found)), tally


def texts(source: SourceTerms, root: Path) -> list[str]:
    return [document.text for document in read(source, root)[0]]


def write_jsonl(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"text": text, "x": 1}) + "\n" for text in texts))


def write_gzip(path: Path, texts: list[str]) -> None:
    path.write_bytes(gzip.compress("".join(f"{text}\r\n" for text in texts).encode()))


def write_parquet(path: Path, texts: list[str]) -> None:
    pl.DataFrame({"x": range(len(texts)), "text": texts}).write_parquet(path, row_group_size=2)


@pytest.mark.parametrize(
    ("format", "ending", "write"),
    [
        ("jsonl", "jsonl", write_jsonl),
        ("lines", "txt.gz", write_gzip),
        ("parquet", "parquet", write_parquet),
    ],
)
def test_documents_come_in_the_order_of_files_and_from_any_of_them_on(
    tmp_path: Path, format: str, ending: str, write: Callable[[Path, list[str]], None]
) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / f"b.{ending}", ["Cholera", "Typhoid fever", "中毒性休克"])
    write(tmp_path / "deep" / f"a.{ending}", ["Plague", "Anthrax"])
    source = terms(format, "**/*." + ending, f"b.{ending}")
    documents, tally = read(source, tmp_path)
    assert [document.text for document in documents] == [
        "Cholera",
        "Typhoid fever",
        "中毒性休克",
        "Plague",
        "Anthrax",
    ]
    assert (tally.read, tally.refused) == (5, {})
    for number, document in enumerate(documents):
        assert read(source, tmp_path, document.file, document.record)[0] == documents[number:]
        assert (
            read(source, tmp_path, document.file, document.record + 1)[0] == documents[number + 1 :]
        )


def test_a_file_may_be_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfCall me Ishmael.\n\nSome years ago\n")
    (tmp_path / "b.txt").write_bytes(b"Loomings")
    assert texts(terms("text", "*.txt"), tmp_path) == [
        "Call me Ishmael.\n\nSome years ago\n",
        "Loomings",
    ]


def test_a_text_may_come_in_two_languages(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"en": "fever", "zh": "发热"}\n')
    source = terms("jsonl", "*.jsonl", field="en", other_field="zh", other_language="zh")
    [document] = read(source, tmp_path)[0]
    assert (document.text, document.other) == ("fever", "发热")


def test_what_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    lines = [
        b'\xef\xbb\xbf{"text": "one"}',
        b"",
        b'{"text": "\xff"}',
        b'{"text": "two"',
        b'["three"]',
        b'{"texts": "four"}',
        b'{"text": 5}',
        b'{"text": "  "}',
        b'{"text": "\\ud800"}',
        deep,
        b'{"text": "eleven"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "b.jsonl").write_bytes(b"")
    documents, tally = read(terms("jsonl", "*.jsonl", refused=0.9), tmp_path)
    assert [document.text for document in documents] == ["one", "eleven"]
    assert tally.refused == {
        "not UTF-8": 1,
        "no JSON": 2,
        "no JSON object": 1,
        "no text in 'text'": 2,
        "nothing in 'text'": 1,
        "half a character in 'text'": 1,
        "an empty file": 1,
    }
    assert tally.read == len(documents) + sum(tally.refused.values())
    assert tally.places[0] == "a.jsonl:3: not UTF-8"
    assert tally.places[-1] == "b.jsonl:1: an empty file"


def test_a_line_that_is_too_long_is_never_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LONGEST", 20)
    monkeypatch.setattr(sources, "_BLOCK", 7)
    for size in range(15, 70):
        (tmp_path / "a.txt").write_bytes(b"before\n" + b"x" * size + b"\nafter\n")
        documents, tally = read(terms("lines", "a.txt", refused=1.0), tmp_path)
        longer = size > 20
        assert [document.text for document in documents if "x" not in document.text] == [
            "before",
            "after",
        ]
        assert tally.refused == ({"longer than 20 bytes": 1} if longer else {})
    (tmp_path / "a.txt").write_bytes(b"x" * 21)
    assert read(terms("text", "a.txt", refused=1.0), tmp_path)[1].refused.total() == 1
    write_parquet(tmp_path / "a.parquet", ["x" * 20, "x" * 21])
    documents, tally = read(terms("parquet", "a.parquet", refused=0.5), tmp_path)
    assert [document.record for document in documents] == [0]
    assert tally.places == ["a.parquet:2: longer than 20 bytes"]


def test_more_than_the_share_refuses_the_source_at_once_where_that_is_clear(tmp_path: Path) -> None:
    lines = ['{"text": "fever"}'] * 99 + ["{"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert len(texts(terms("jsonl", "a.jsonl"), tmp_path)) == 99
    with pytest.raises(
        DataError, match=r"1 of 100 records .* 0\.900% may be: a\.jsonl:100: no JSON"
    ):
        texts(terms("jsonl", "a.jsonl", refused=0.009), tmp_path)
    (tmp_path / "a.jsonl").write_text("{\n" * 50_000)
    with pytest.raises(DataError, match="101 of 101 records cannot be read"):
        texts(terms("jsonl", "a.jsonl"), tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 12, -3])
def test_a_damaged_gzip_is_refused_as_a_whole(tmp_path: Path, kept: int) -> None:
    content = gzip.compress(b"fever\n" * 9)
    (tmp_path / "a.txt.gz").write_bytes(content[:kept] or b"no gzip at all")
    with pytest.raises(DataError, match=r"a\.txt\.gz: damaged: .* fetch the file again"):
        texts(terms("lines", "*.gz"), tmp_path)


def test_a_parquet_file_without_the_column_or_damaged_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", ["fever"] * 9)
    with pytest.raises(DataError, match=r"no column 'body' of text; it has x \(Int64\), text"):
        texts(terms("parquet", "a.parquet", field="body"), tmp_path)
    with pytest.raises(DataError, match=r"no column 'x' of text"):
        texts(terms("parquet", "a.parquet", field="x"), tmp_path)
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
        texts(terms("parquet", "a.parquet"), tmp_path)


def test_a_null_in_a_parquet_file_is_counted(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["fever", None, "cough"]}).write_parquet(tmp_path / "a.parquet")
    documents, tally = read(terms("parquet", "*.parquet", refused=0.5), tmp_path)
    assert [document.record for document in documents] == [0, 2]
    assert tally.places == ["a.parquet:2: no text in 'text'"]


def test_a_path_that_names_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fever")
    with pytest.raises(DataError, match=r"source 'icd': no file is 'b\*\.txt' under"):
        sources.files(terms("lines", "a.txt", "b*.txt"), tmp_path)
    assert sources.files(terms("lines", str(tmp_path / "a*")), Path("/nowhere"))


def test_a_digest_stands_for_the_bytes_wherever_they_lie(tmp_path: Path) -> None:
    for name, text in (("a", "fever"), ("b", "fever"), ("c", "cough")):
        (tmp_path / name).write_text(text)
    digests = [sources.content_digest([tmp_path / name]) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    assert sources.content_digest([tmp_path / "a", tmp_path / "c"]) not in digests


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"other_field": "zh"}, "name both or neither"),
        ({"format": "lines", "other_field": "zh", "other_language": "zh"}, "has no fields"),
        ({"weight": 0}, "greater than 0"),
        ({"weight": float("inf")}, "finite"),
        ({"paths": []}, "at least 1 item"),
        ({"unknown": 1}, "not permitted"),
    ],
)
def test_terms_that_cannot_be_are_refused(others: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        terms("jsonl", "a.jsonl", **others)
