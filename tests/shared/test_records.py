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
    table = LeftOut.of("owner", objected).without(path, records.table(path, path.read_bytes()))
    return records.by_role(path, table, ["text"], {})["text"]


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
        LeftOut.of("patient", []).without(path, records.table(path, path.read_bytes()))


def test_the_same_people_have_the_same_digest() -> None:
    one = LeftOut.of("owner", ["a", "b"]).digest
    assert LeftOut.of("owner", ["B", "a", " a"]).digest == one
    assert (
        len({one, LeftOut.of("owner", ["a"]).digest, LeftOut.of("patient", ["a", "b"]).digest}) == 3
    )


def owners_in(path: Path, column: str) -> list[int]:
    found: list[int] = records.owners(path, records.table(path, path.read_bytes()), column).tolist()
    return found


def written(tmp_path: Path, name: str, content: str) -> Path:
    path = tmp_path / name
    path.write_text(content, "utf-8")
    return path


def test_owners_are_numbered_as_they_come(tmp_path: Path) -> None:
    table = pl.DataFrame({"patient": [907, 12, 907, 5, 12]})
    table.write_csv(tmp_path / "r.csv")
    table.write_ndjson(tmp_path / "r.jsonl")
    table.write_parquet(tmp_path / "r.parquet")
    for end in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"r.{end}"
        assert owners_in(path, "patient") == [0, 1, 0, 2, 1]


def test_owners_are_told_apart_by_their_text(tmp_path: Path) -> None:
    """007 and 7 are two, 10^20 and 10^20 + 1 too; white space around a name is not part of it."""
    rows = ["007", "7", " 7 ", "1.0", "100000000000000000000", "100000000000000000001", "ä", '"ä"']
    path = written(tmp_path, "r.csv", "\n".join(["who", *rows]) + "\n")
    assert owners_in(path, "who") == [0, 1, 1, 2, 3, 4, 5, 5]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("r.csv", "who,text\na,x\n,y\n", "names nobody in record 2"),
        ("r.csv", "who,text\na,x\nb,y\n   ,z\n", "names nobody in record 3"),
        ("r.jsonl", '{"who":"a"}\n{"who":""}\n', "names nobody in record 2"),
        ("r.jsonl", '{"who":null}\n{"who":"a"}\n', "names nobody in record 1"),
        ("r.jsonl", '{"who":"a"}\n{"text":"x"}\n', "names nobody in record 2"),
        ("r.jsonl", '{"who":1.5}\n', "with a decimal point"),
        ("r.jsonl", '{"who":["a"]}\n', "which is no text"),
        ("r.jsonl", '{"name":"a"}\n', r"no column 'who' \(for owner\); it has name"),
    ],
)
def test_a_record_without_an_owner_is_named(
    tmp_path: Path, name: str, content: str, named: str
) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(DataError, match=named) as caught:
        owners_in(path, "who")
    assert name in str(caught.value)


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1).filter(
            records.normalised
        ),
        min_size=1,
    )
)
def test_two_records_have_one_number_exactly_if_they_have_one_owner(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.jsonl"
        records.write_jsonl(path, {"who": names})
        found = owners_in(path, "who")
    names = [records.normalised(name) for name in names]
    assert sorted(set(found)) == list(range(len(set(names))))
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            assert (found[i] == found[j]) == (one == other)


def test_a_csv_keeps_its_texts_as_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path, "r.csv", "text,label\n1.50,007\n2,8\n")
    assert records.read(path, ROLES, {}) == {"text": ["1.50", "2"], "label": ["007", "8"]}
