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
from fedward_shared.records import LeftOut

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


def owned(folder: Path, name: str, owners: list[object]) -> Path:
    table = pl.DataFrame({"text": [f"t{n}" for n in range(len(owners))], "owner": owners})
    path = folder / name
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[
        name.rpartition(".")[2]
    ](path)
    return path


def left(path: Path, *objected: str) -> list[str]:
    gone = LeftOut.of("owner", objected)
    return records.parse(path, path.read_bytes(), ["text"], {}, gone)["text"]


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "r.parquet"])
def test_the_records_of_who_objected_are_left_out(name: str, tmp_path: Path) -> None:
    path = owned(tmp_path, name, ["p1", "p2", "p1", "P3"])
    assert left(path) == ["t0", "t1", "t2", "t3"]
    assert left(path, "p1") == ["t1", "t3"]
    assert left(path, " P1\t", "p3", "nobody") == ["t1"]
    numbers = owned(tmp_path, name, [7, 8, 70, 8])
    assert left(numbers, "7") == ["t1", "t2", "t3"]


def test_a_number_keeps_its_zeros_in_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("text,owner\nt0,007\nt1,7\nt2,07\n", "utf-8")
    assert left(path, "007") == ["t1", "t2"]
    assert left(path, "7") == ["t0", "t2"]


@pytest.mark.parametrize(
    ("owners", "objected", "said"),
    [
        (["p1", None], ["p2"], "column 'owner' has no text in record 2"),
        ([1.0, 2.0], ["1"], "column 'owner' holds numbers with a decimal point"),
        (["p1", "p2"], ["p1", "P2"], "the owners of all records have objected"),
    ],
)
def test_owners_that_cannot_be_told_apart(
    owners: list[object], objected: list[str], said: str, tmp_path: Path
) -> None:
    path = owned(tmp_path, "r.parquet", owners)
    with pytest.raises(DataError, match=rf"r\.parquet: {said}"):
        left(path, *objected)
    with pytest.raises(DataError, match="no column 'patient'"):
        records.parse(path, path.read_bytes(), ["text"], {}, LeftOut.of("patient", []))


def test_the_same_people_have_the_same_digest() -> None:
    one = LeftOut.of("owner", ["a", "b"]).digest
    assert LeftOut.of("owner", ["B", "a", " a"]).digest == one
    assert (
        len({one, LeftOut.of("owner", ["a"]).digest, LeftOut.of("patient", ["a", "b"]).digest}) == 3
    )
