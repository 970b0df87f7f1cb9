"""Files of records: what cannot be used is refused, naming the file and the field."""

import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared import records
from fedward_shared.errors import DataError

ROLES = ("text", "label")


def test_the_three_formats_give_the_same_columns(tmp_path: Path) -> None:
    table = pl.DataFrame({"note": ["a", "b, c", "ü"], "label": [1, 2, 1]})
    table.write_csv(tmp_path / "r.csv")
    table.write_ndjson(tmp_path / "r.jsonl")
    table.write_parquet(tmp_path / "r.parquet")
    read = [
        records.read(tmp_path / f"r.{end}", ROLES, {"text": "note"})
        for end in ("csv", "jsonl", "parquet")
    ]
    assert read[0] == {"text": ["a", "b, c", "ü"], "label": ["1", "2", "1"]}
    assert read[0] == read[1] == read[2]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("r.jsonl", b"", "empty"),
        ("r.txt", b"x", "ending"),
        ("r.csv", b"text,label\na,b\n\xff,c\n", "line 3 is not UTF-8"),
        ("r.csv", b"text,other\na,b\n", "'label'"),
        ("r.csv", b"text,label\n", "no records"),
        ("r.jsonl", b"{nonsense", "cannot be read"),
        ("r.jsonl", b'{"text":"a","label":"b"}\n{"text":null,"label":"b"}\n', "record 2"),
        ("r.parquet", b"not parquet", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, name: str, content: bytes, named: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=named) as caught:
        records.read(tmp_path / name, ROLES, {})
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "values", [[["a"], ["b"]], [{"a": "b"}] * 2, [b"\xff"] * 2, [timedelta(1)] * 2], ids=str
)
def test_a_column_without_text_is_named(tmp_path: Path, values: list[object]) -> None:
    pl.DataFrame({"note": values, "label": ["a", "b"]}).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(DataError, match=r"r\.parquet: column 'note' holds \w+.*, which is no text"):
        records.read(tmp_path / "r.parquet", ROLES, {"text": "note"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        records.read(tmp_path / "gone.csv", ROLES, {})


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from("ab")),
        min_size=1,
    )
)
def test_what_is_written_is_what_is_read(rows: list[tuple[str, str]]) -> None:
    columns = {"text": [t for t, _ in rows], "label": [label for _, label in rows]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.jsonl"
        records.write_jsonl(path, columns)
        assert records.read(path, ROLES, {}) == columns
