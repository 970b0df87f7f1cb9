"""What is counted, and that one unit moves it by no more than is booked: brute force over neighbours."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from client.statistics.conftest import AGES, OWNERS, WARDS, seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from shared.statistics.made import AGE, WARD, charter, terms

from fedward_client.core import Counting
from fedward_client.statistics.counting import counted
from fedward_shared import canonical
from fedward_shared.errors import DataError
from fedward_shared.privacy.discrete import Integers
from fedward_shared.records import LeftOut
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.tally import Found
from fedward_shared.statistics.terms import StatisticsTerms

Rows = list[dict[str, object]]
ROWS: Rows = [
    {"age": age, "ward": ward, "owner": owner}
    for age, ward, owner in zip(AGES, WARDS, OWNERS, strict=True)
]
PATIENTS = terms(unit="patient", most_records=2)


def asked(path: Path, of: StatisticsTerms, **changes: object) -> Counting:
    fields: dict[str, object] = {
        "booking": 1,
        "site": "north",
        "charter": charter(of),
        "data": path,
        "file": canonical.digest(path.read_bytes()),
        "owner": None if of.unit == "record" else "owner",
        "left_out": None,
        "columns": {},
        **changes,
    }
    return Counting(**fields)  # type: ignore[arg-type]


def count(
    folder: Path, rows: Rows, of: StatisticsTerms | None = None, **changes: object
) -> tuple[tuple[Found, ...], Integers]:
    path = folder / "records.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return counted(asked(path, of or terms(), **changes), seeded)


def named(counts: Integers, column: str, of: StatisticsTerms | None = None) -> dict[str, int]:
    """The cells that are not empty."""
    layout = Layout(of or terms())
    question = layout.counts(column)
    assert question.column is not None
    found = zip(question.column.cells, counts[question.place].tolist(), strict=True)
    return {cell: amount for cell, amount in found if amount}


def test_each_record_is_in_one_cell_of_each_column(tmp_path: Path) -> None:
    found, counts = count(tmp_path, ROWS)
    assert found == ("undeclared", "undeclared")
    assert counts[0] == 8
    assert named(counts, "age") == {
        "below 0": 1,
        "30 to 40": 1,
        "50 to 60": 1,
        "70 to 80": 1,
        "90 to 100": 1,
        "above 100": 1,
        "no number": 1,
        "missing": 1,
    }
    assert named(counts, "ward") == {"heart": 3, "bone": 2, "other": 2, "missing": 1}
    layout = Layout(terms())
    total = sum((min(max(x, 0), 100) - 50) / 50 for x in (34, 71, 104, -2, 100, 55)) * layout.steps
    assert abs(counts[layout.sum("age").start] - total) < 6
    layout.check(counts, 8)


@pytest.mark.parametrize("value", [["x"], {"x": 1}])
def test_a_list_is_counted_and_stops_nothing(tmp_path: Path, value: object) -> None:
    _, counts = count(tmp_path, [{"age": value, "ward": value}])
    assert named(counts, "age") == {"no number": 1}
    assert named(counts, "ward") == {"other": 1}


def test_numbers_of_every_kind_are_read(tmp_path: Path) -> None:
    rows: Rows = [{"age": v} for v in (5, 5.0, "5", " 5 ", "5e0", True, "inf", None, "NaN", 1e400)]
    _, counts = count(tmp_path, rows)
    assert named(counts, "age") == {"0 to 10": 5, "no number": 3, "missing": 2}
    assert named(counts, "ward") == {"missing": 10}


def test_what_a_record_adds_does_not_depend_on_the_first_lines(tmp_path: Path) -> None:
    """A reader that guesses types from the first lines would drop or refuse what comes later."""
    rows: Rows = [{"other": 1} for _ in range(150)]
    rows += [{"age": 5, "ward": "bone"}, {"age": "x"}]
    _, counts = count(tmp_path, rows)
    assert named(counts, "age") == {"0 to 10": 1, "no number": 1, "missing": 150}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_that_declares_columns_says_so(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"records.{ending}"
    table = pl.DataFrame({"age": [5, None, 7], "ward": ["bone", "", None], "when": [[1], [], None]})
    if ending == "csv":
        table.drop("when").write_csv(path)
    else:
        table.write_parquet(path)
    of = terms(columns=(AGE, WARD, WARD.model_copy(update={"name": "when"})))
    found, counts = counted(asked(path, of), seeded)
    assert found == (
        ("text",) * 2 + ("absent",) if ending == "csv" else ("number", "text", "other")
    )
    assert named(counts, "age", of) == {"0 to 10": 2, "missing": 1}
    assert named(counts, "ward", of) == {"bone": 1, "missing": 2}
    expected = {"missing": 3} if ending == "csv" else {"other": 2, "missing": 1}
    assert named(counts, "when", of) == expected


def test_columns_have_the_names_that_the_site_gives_them(tmp_path: Path) -> None:
    rows: Rows = [{"Alter": 5, "Station": "bone"}]
    _, counts = count(tmp_path, rows, columns={"age": "Alter", "ward": "Station"})
    assert named(counts, "age") == {"0 to 10": 1}
    assert named(counts, "ward") == {"bone": 1}


def test_of_each_patient_so_many_records_count(tmp_path: Path) -> None:
    _, counts = count(tmp_path, ROWS, PATIENTS)
    layout = Layout(PATIENTS)
    assert (counts[0], counts[layout.unit_count.start]) == (2 + 2 + 1 + 2, 4)
    layout.check(counts, 8)


def test_each_record_of_a_patient_counts_as_often(tmp_path: Path) -> None:
    """Whatever is in it: 400 patients with nine records of one ward and one of another."""
    wards = ["heart"] * 9 + ["bone"]
    rows: Rows = [{"ward": ward, "owner": str(n)} for n in range(400) for ward in wards]
    of = terms(unit="patient", most_records=1)
    _, counts = count(tmp_path, rows, of)
    bone = named(counts, "ward", of)["bone"]
    assert abs(bone - 40) < 5 * math.sqrt(400 * 0.1 * 0.9)


def test_who_has_objected_is_not_counted(tmp_path: Path) -> None:
    _, counts = count(tmp_path, ROWS, PATIENTS, left_out=LeftOut.of("owner", ["A", "d"]))
    assert counts[Layout(PATIENTS).unit_count.start] == 2
    assert named(counts, "ward", PATIENTS) == {"heart": 1, "other": 1, "missing": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "line 1 is not JSON"),
        (b"[1]\n", "line 1 is no JSON object"),
        (b'{"age": 1}\n\xff\n', "line 2 is not JSON"),
        (b"\n", "holds no records"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b'{"age": 1}\n', "names nobody in record 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        counted(asked(path, PATIENTS), seeded)


def test_another_file_than_the_registered_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another than the one that was registered"):
        count(tmp_path, ROWS, file="sha256:" + "0" * 64)


VALUES = st.one_of(
    st.none(),
    st.integers(-20, 120),
    st.floats(-1e6, 1e6),
    st.sampled_from(["heart", "bone", "x", "", "NA", "12", "1e3", "nan"]),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
)
RECORDS = st.fixed_dictionaries({}, optional={"age": VALUES, "ward": VALUES})
OWNED = st.tuples(RECORDS, st.integers(0, 4))


def movement(one: Integers, other: Integers, of: StatisticsTerms) -> list[float]:
    """Of each question, how far it was moved, in lengths of what one unit may move it."""
    moved = (one - other).astype(np.float64)
    return [float(np.linalg.norm(moved[q.place])) / q.reach for q in Layout(of).questions]


@settings(max_examples=60)
@given(st.lists(RECORDS, min_size=2, max_size=12), st.data())
def test_one_record_moves_no_question_farther_than_is_booked(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, data: st.DataObject
) -> None:
    """The last one, so that the draws of the others are the same; order does not matter to counts."""
    folder, of = tmp_path_factory.mktemp("rows"), terms()
    gone = data.draw(st.integers(0, len(rows) - 1))
    ordered = [*rows[:gone], *rows[gone + 1 :], rows[gone]]
    _, one = count(folder, ordered, of)
    _, other = count(folder, ordered[:-1], of)
    moved = movement(one, other, of)
    assert max(moved) <= 1
    assert np.square(moved).sum() <= of.questions


@settings(max_examples=60)
@given(st.lists(OWNED, min_size=2, max_size=12), st.integers(1, 3))
def test_all_records_of_one_patient_move_no_question_farther(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[dict[str, object], int]], most: int
) -> None:
    """Of the patient whose records come last, for the same reason; with all records that may count."""
    folder = tmp_path_factory.mktemp("rows")
    last = rows[-1][1]
    ordered = sorted(rows, key=lambda row: row[1] == last)
    others = [row for row in ordered if row[1] != last]
    if not others:
        return
    of = terms(unit="patient", most_records=most)
    # The others have no more records than count, so that which of them do is not drawn.
    seen: dict[int, int] = {}
    kept = []
    for row in others:
        seen[row[1]] = seen.get(row[1], 0) + 1
        if seen[row[1]] <= most:
            kept.append(row)
    mine = [row for row in ordered if row[1] == last]
    _, one = count(folder, [{**r, "owner": str(o)} for r, o in [*kept, *mine]], of)
    _, other = count(folder, [{**r, "owner": str(o)} for r, o in kept], of)
    numbers = [q for q in Layout(of).questions if not q.is_sum]
    moved = [
        float(np.linalg.norm((one - other)[q.place].astype(np.float64))) / q.reach for q in numbers
    ]
    assert max(moved) <= 1
    total = Layout(of).sum("age")
    # Which way each number is rounded is drawn anew: by less than one step for each of them.
    rounding = len(kept) + len(mine)
    assert abs(int((one - other)[total.start])) <= total.reach + rounding
