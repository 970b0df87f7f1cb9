"""What the record knows of a person is found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation.identifiers import known
from fedward_client.preparation.identifiers.known import one_apart
from fedward_client.preparation.identifiers.spans import Kind

OKAFOR = known.of(["Okafor^Zélie^Marie"], record="00-123 45")


@pytest.mark.parametrize(
    "written",
    [
        "Zélie Okafor",
        "Okafor, Zelie",
        "OKAFOR",
        "Z. Okafor",
        "zelie okafor",
        "Okafro",
        "Okafr",
        "Zélie M. Okafor",
    ],
)
def test_a_name_however_it_is_written(written: str) -> None:
    text = f"today {written} slept well"
    assert [text[f.start : f.end] for f in OKAFOR.find(text)] == [written]


def test_a_value_however_it_is_grouped() -> None:
    text = "file 0012345, not 1200123459"
    ((found),) = OKAFOR.find(text)
    assert (found.kind, text[found.start : found.end]) == (Kind.RECORD, "0012345")


def test_a_name_that_is_a_word_is_found_as_a_name_alone() -> None:
    text = "pain in the chest; Mr Pain agreed"
    assert [text[f.start : f.end] for f in known.of(["Pain^Tom"]).find(text)] == ["Pain"]


def test_a_chinese_name() -> None:
    text = "今日查房，欧阳明月诉头晕"
    assert [text[f.start : f.end] for f in known.of(["欧阳^明月"]).find(text)] == ["欧阳明月"]


@given(st.text("abc", max_size=6), st.data())
def test_one_letter_more_is_one_apart(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word)))
    longer = word[:at] + "x" + word[at:]
    assert one_apart(word, longer)
    assert one_apart(longer, word)
    assert not one_apart(word, f"y{word}z")
