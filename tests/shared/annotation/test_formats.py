"""brat, Label Studio and records: round trips, and both units of offsets."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.annotation.samples import documents

from fedward_shared.annotation import brat, formats, label_studio
from fedward_shared.annotation.documents import Document, Entity
from fedward_shared.errors import DataError

TEXT = "🚀 pain after aspirin"
"""The rocket is one code point and two UTF-16 code units."""


@given(documents())
def test_brat_round_trip(document: Document) -> None:
    assert brat.decode(document.text, brat.encode(document, "x"), "x") == document


@given(documents())
def test_label_studio_round_trip(document: Document) -> None:
    content = label_studio.encode([document], "x")
    assert label_studio.decode(content, "x") == [document]


@pytest.mark.parametrize("shift", [0, 1])
def test_brat_in_either_unit(shift: int) -> None:
    marks = f"T1\tS {2 + shift} {6 + shift}\tpain\nT2\tD {13 + shift} {20 + shift}\taspirin\n"
    found = brat.decode(TEXT, marks, "x")
    assert [(e.start, e.end, e.text) for e in found.entities] == [
        (2, 6, "pain"),
        (13, 20, "aspirin"),
    ]


@pytest.mark.parametrize("shift", [0, 1])
def test_label_studio_in_either_unit(shift: int) -> None:
    value = {"start": 2 + shift, "end": 6 + shift, "text": "pain", "labels": ["S"]}
    task = {
        "id": 7,
        "data": {"text": TEXT},
        "annotations": [{"result": [{"id": "a", "type": "labels", "value": value}]}],
    }
    (found,) = label_studio.decode(json.dumps([task]), "x")
    assert found.entities == (Entity(start=2, end=6, label="S", text="pain"),)


def test_brat_by_hand() -> None:
    marks = (
        "T1\tD 13 20\taspirin\nT2\tS 2 6\tpain\nA1\tNegated T2\nA2\tdose T1 100 mg\n"
        "R1\ttreats Arg1:T1 Arg2:T2\t\n#1\tAnnotatorNotes T1\tsure\n"
    )
    found = brat.decode(TEXT, marks, "x")
    assert [e.attributes for e in found.entities] == [{"dose": "100 mg"}, {"Negated": "true"}]
    assert [(r.label, r.head, r.tail) for r in found.relations] == [("treats", 0, 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T1\tS 3 6\tpain", r"at \[3, 6\) stands 'ain', not 'pain'"),
        ("T1\tS 50 54\tpain", r"at \[50, 54\) stands ''"),
        ("T1\tS 2 4;5 6\tpa n", "line 1: .* is no entity of one part"),
        ("E1\tS:T1", "line 1"),
        ("A1\tNegated T1", "line 1: there is no entity T1"),
        ("R1\ttreats Arg1:T1 Arg2:T2", "line 1: there is no entity T1"),
        ("T1\tS 2 6\tpain\nT1\tS 2 6\tpain", "line 2: T1 occurs twice"),
    ],
)
def test_what_brat_says_wrongly_is_named(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        brat.decode(TEXT, line, "x")


def test_what_brat_cannot_hold_is_refused() -> None:
    spaced = Document(text="a", entities=(Entity(start=0, end=1, label="two words"),))
    with pytest.raises(DataError, match="no white space"):
        brat.encode(spaced, "x")
    entity = Entity(start=0, end=1, label="S", attributes={"a": "1\n2"})
    with pytest.raises(DataError, match="attribute a: brat has no"):
        brat.encode(Document(text="a", entities=(entity,)), "x")


def task(*results: object, **more: object) -> str:
    return json.dumps([{"data": {"text": TEXT}, "annotations": [{"result": results}], **more}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("{}", "tasks: Input should be a valid list"),
        ("[]", "tasks: List should have at least 1 item"),
        (task({"type": "rectangle"}), "'rectangle' has no place"),
        (task({"type": "labels", "value": {"start": 0, "end": 1}}), "label: 0 values"),
        (task({"type": "textarea", "id": "a", "from_name": "d"}), "d belongs to no region"),
        (task({"type": "relation", "from_id": "a", "to_id": "b"}), "of no region"),
        (task(data={"note": "x"}), "data.text is no text; it has note"),
        (task(annotations=[{}, {}]), "2 people have annotated it"),
    ],
)
def test_what_label_studio_says_wrongly_is_named(content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        label_studio.decode(content, "x")


@given(st.text(max_size=80), st.text(max_size=40))
def test_no_bytes_but_a_data_error(marks: str, text: str) -> None:
    for read in (
        lambda: brat.decode(text, marks, "x"),
        lambda: label_studio.decode(marks, "x"),
    ):
        try:
            read()
        except DataError:
            continue


@pytest.mark.parametrize("kind", ["jsonl", "label-studio", "brat", "records"])
def test_every_format_through_its_files(kind: str, tmp_path: Path) -> None:
    entities = (Entity(start=2, end=6, label="S", text="pain", attributes={"a": "b"}),)
    documents = [Document(text=TEXT, entities=entities), Document(text="none\r\nhere")]
    path = tmp_path / "out.jsonl"
    formats.write(path, documents, kind, "unicode")
    assert formats.read(path, kind) == documents


def test_words_and_tags(tmp_path: Path) -> None:
    documents = [Document(text=TEXT, entities=(Entity(start=2, end=6, label="S"),))]
    path = tmp_path / "out.txt"
    formats.write(path, documents, "bilou", "unicode")
    assert path.read_text("utf-8") == "🚀\tO\npain\tU-S\nafter\tO\naspirin\tO\n"
