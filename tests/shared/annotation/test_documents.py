"""JSON lines: what they keep, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from shared.annotation.samples import PUBLISHED, documents

from fedward_shared.annotation import documents as docs
from fedward_shared.annotation.documents import Document, Entity
from fedward_shared.errors import DataError


@given(documents())
def test_round_trip(document: Document) -> None:
    assert docs.decode(docs.encode([document, document]), "x") == [document, document]
    entities = docs.entities_json(document.entities)
    assert docs.parse_entities(entities, "x") == document.entities


def test_offsets_are_of_code_points() -> None:
    document = Document(text="👩🚀胸痛", entities=(Entity(start=2, end=4, label="症状"),))
    assert document.located().entities[0].text == "胸痛"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "x: line 1: file: Invalid JSON"),
        ("[" * 100_000, "x: line 1: file: Invalid JSON"),
        ('{"text": "a", "entity": []}', "line 1: entity: Extra inputs"),
        ('{"text": "a", "entities": [{"start": "0", "end": 1, "label": "b"}]}', "0.start: Input"),
        ('{"text": "a", "entities": [{"start": -1, "end": 1, "label": "b"}]}', "0.start: Input"),
        ('{"text": "\\ud800"}', "line 1: "),
        ("\n \n", "x: holds no annotated text"),
    ],
)
def test_a_line_that_is_none_is_named(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        docs.decode(line.encode(), "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"text": "ab", "entities": [{"start": 1, "end": 3, "label": "b"}]}',
            r"\[1, 3\) is no part",
        ),
        (PUBLISHED.replace('"label"', '"text": "胸痛", "label"'), "stands '性胸痛', not '胸痛'"),
        ('{"text": "a", "relations": [{"label": "r", "head": 0, "tail": 0}]}', "0 entities only"),
    ],
)
def test_check_says_what_stands_there(content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        docs.parse(content, "x").check("x")


def test_a_file_that_is_too_long_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(PUBLISHED, "utf-8")
    assert len(docs.read(path)) == 1
    monkeypatch.setattr(docs, "MOST_BYTES", 10)
    with pytest.raises(DataError, match="longer than"):
        docs.read(path)
    with pytest.raises(DataError, match="No such file"):
        docs.read(tmp_path / "b.jsonl")
