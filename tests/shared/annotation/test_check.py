"""What the check finds, what it suggests, and what it cannot see."""

from pathlib import Path

import pytest
from hypothesis import given
from shared.annotation.samples import PUBLISHED, documents

from fedward_shared.annotation import schema as schemas
from fedward_shared.annotation.boundaries import Boundaries, segments
from fedward_shared.annotation.check import problems
from fedward_shared.annotation.documents import Document, parse
from fedward_shared.annotation.schema import Schema
from fedward_shared.errors import DataError

SCHEMA = {
    "labels": [
        {
            "name": "症状",
            "attributes": [{"name": "duration"}, {"name": "certain", "values": ["yes", "no"]}],
        },
        {"name": "drug"},
    ],
    "relations": [{"name": "treats", "head": ["drug"], "tail": ["症状"]}],
}


def schema(**changes: object) -> Schema:
    return Schema.model_validate(SCHEMA | changes)


def said(text: str, *entities: dict[str, object], terms: Schema | None = None) -> list[str]:
    document = Document.model_validate({"text": text, "entities": entities})
    return [problem.sentence(text) for problem in problems(document, terms or schema())]


def mark(start: int, end: int, label: str = "drug", **more: object) -> dict[str, object]:
    return {"start": start, "end": end, "label": label, **more}


def with_forms() -> Schema:
    labels = [SCHEMA["labels"][0] | {"forms": ["胸痛", "头痛"]}]
    return schema(labels=labels, relations=[])


def test_the_published_example_is_caught_by_words() -> None:
    pytest.importorskip("rjieba")
    document = parse(PUBLISHED, "x")
    (problem,) = problems(document, schema(words="jieba"))
    assert problem.sentence(document.text) == (
        "entities[0]: [6, 9) is '性胸痛': start 6 is within a word; [7, 9) is '胸痛'"
    )


def test_the_published_example_is_caught_by_known_forms() -> None:
    document = parse(PUBLISHED, "x")
    (problem,) = problems(document, with_forms())
    assert problem.sentence(document.text) == (
        "entities[0]: [6, 9) is '性胸痛', which is no known form of 症状; [7, 9) is '胸痛'"
    )


def test_the_published_example_is_caught_by_its_own_text() -> None:
    document = parse(PUBLISHED.replace('"label"', '"text": "胸痛", "label"'), "x")
    (problem,) = problems(document, schema())
    assert problem.suggestion == (7, 9)
    assert "'性胸痛', not '胸痛'" in problem.what


def test_without_any_of_these_it_is_not_seen() -> None:
    """To Unicode's own rules every Chinese character is a word."""
    assert problems(parse(PUBLISHED, "x"), schema()) == []


@pytest.mark.parametrize("words", ["unicode", "jieba"])
def test_the_right_span_is_left_alone(words: str) -> None:
    if words == "jieba":
        pytest.importorskip("rjieba")
    right = parse(PUBLISHED.replace('"start": 6', '"start": 7'), "x")
    assert problems(right, schema(words=words)) == []
    assert problems(right, with_forms()) == []


def test_a_span_outside_the_text() -> None:
    assert said("ab", mark(1, 5, text="ab")) == [
        "entities[0]: [1, 5) is no part of a text of 2 code points; [0, 2) is 'ab'"
    ]


def test_white_space_and_words() -> None:
    text = "took aspirin twice"
    assert said(text, mark(4, 12)) == [
        "entities[0]: [4, 12) is ' aspirin', which begins or ends with white space; [5, 12) is 'aspirin'"
    ]
    assert said(text, mark(5, 11)) == [
        "entities[0]: [5, 11) is 'aspiri': end 11 is within a word; [5, 12) is 'aspirin'"
    ]


def test_a_grapheme_cluster_is_not_cut() -> None:
    (sentence,) = said("cafe\u0301 au lait", mark(0, 4))
    assert "end 4 is within a character that is written as several; [0, 5)" in sentence


def test_attributes() -> None:
    attributes = {"duration": "4小时", "certain": "maybe", "size": "2"}
    assert said("胸痛3小时", mark(0, 2, "症状", attributes=attributes)) == [
        "entities[0].attributes.duration: '4小时' is not in the text",
        "entities[0].attributes.certain: 'maybe' is none of yes, no",
        "entities[0].attributes.size: 症状 has no such attribute in the schema",
    ]


def test_an_unknown_label() -> None:
    assert said("ab", mark(0, 2, "dose")) == ["entities[0].label: 'dose' is not in the schema"]


def test_overlap() -> None:
    text = "severe chest pain"
    nested, crossing = (mark(0, 17), mark(7, 17)), (mark(0, 12), mark(7, 17))
    assert "[7, 17) lies in entities[0], [0, 17)" in said(text, *nested)[0]
    assert said(text, *nested, terms=schema(overlap="nested")) == []
    assert "crosses" in said(text, *crossing, terms=schema(overlap="nested"))[0]
    assert said(text, *crossing, terms=schema(overlap="allowed")) == []
    assert said(text, mark(0, 6), mark(7, 17)) == []


def test_relations() -> None:
    content = {
        "text": "aspirin pain",
        "entities": [mark(0, 7), mark(8, 12, "症状")],
        "relations": [
            {"label": "treats", "head": 0, "tail": 1},
            {"label": "treats", "head": 1, "tail": 0},
            {"label": "treats", "head": 0, "tail": 2},
            {"label": "causes", "head": 0, "tail": 1},
        ],
    }
    found = problems(Document.model_validate(content), schema())
    assert [(problem.place, problem.what) for problem in found] == [
        ("relations[1]", "head is '症状', which treats does not take there"),
        ("relations[2]", "tail 2: there are 2 entities, counted from 0"),
        ("relations[3]", "'causes' is not in the schema"),
    ]


@given(documents())
def test_a_suggestion_is_a_span_that_fits(document: Document) -> None:
    for problem in problems(document, schema()):
        if problem.suggestion is not None:
            start, end = problem.suggestion
            assert 0 <= start < end <= len(document.text)
            boundaries = Boundaries.of(document.text, "unicode")
            again = mark(start, end)
            if {start, end} <= boundaries.words:
                assert not any("within" in s for s in said(document.text, again))


@given(documents())
def test_segments_are_the_whole_text(document: Document) -> None:
    for kind in ("unicode", "jieba"):
        if kind == "jieba":
            pytest.importorskip("rjieba")
        found = segments(document.text, kind)
        assert "".join(document.text[a:b] for a, b in found) == document.text


def test_schemas_of_both_kinds_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[[labels]]\nname = "drug"\n', "utf-8")
    (tmp_path / "s.json").write_text('{"labels": [{"name": "drug"}]}', "utf-8")
    assert schemas.read(tmp_path / "s.toml") == schemas.read(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("labels = []", "labels: Tuple should have at least 1 item"),
        ("words = ", "cannot be read"),
        ('[[labels]]\nname = "a"\n[[labels]]\nname = "a"\n', "labels: one occurs twice"),
        (
            '[[labels]]\nname = "a"\n[[relations]]\nname = "r"\nhead = ["b"]\n',
            "relation r: 'b' is no label",
        ),
    ],
)
def test_a_schema_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=message):
        schemas.read(path)
