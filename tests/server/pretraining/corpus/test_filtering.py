"""What is not trained on: passages of evaluation sets, in scripts with spaces and without."""

from pathlib import Path

import pytest

from fedward_server.pretraining.corpus.filtering import (
    CHARACTERS,
    LOW_QUALITY,
    WORDS,
    Filters,
    FilterTerms,
    Passages,
)
from fedward_shared.errors import ModelError
from fedward_shared.text import quality

EXAM = (
    "A 54-year-old woman comes to the physician because of a short history of fatigue, "
    "night sweats and pain in the left upper quadrant."
)
ZH = "患者男性五十四岁因反复发热伴左上腹疼痛两周入院查体脾脏肿大血常规示白细胞计数明显升高"


@pytest.fixture
def passages() -> Passages:
    found = Passages()
    found.add("exam", [[EXAM], ["Cholera"]])
    found.add("zh-exam", [[ZH, "..."], [EXAM]])
    return found


def words(start: int, count: int) -> str:
    return " ".join(EXAM.split()[start : start + count])


def test_a_passage_is_found_wherever_it_stands_and_however_it_is_written(
    passages: Passages,
) -> None:
    texts = [
        f"Question 7. {words(2, WORDS).upper()}! And so on.",
        f"Question 7. {words(2, WORDS - 1)} and so on, with other words after it.",
        f"第七题。{ZH[3 : 3 + CHARACTERS]}，等等",
        f"第七题。{ZH[3 : 2 + CHARACTERS]}等等",
        "Nothing of it.",
        "...",
        "",
    ]
    assert passages.found(texts) == ["exam", None, "zh-exam", None, None, None, None]


def test_a_short_text_is_found_where_it_is_all_of_a_document(passages: Passages) -> None:
    assert passages.found(["cholera.", "Cholera due to Vibrio"]) == ["exam", None]


def test_each_text_has_its_own_answer(passages: Passages) -> None:
    texts = [EXAM, "Nothing.", ZH, EXAM]
    assert passages.found(texts) == [passages.found([text])[0] for text in texts]
    assert passages.found([]) == []
    assert Passages().found([EXAM]) == [None]


def test_reasons_name_the_set_and_can_be_turned_off(passages: Passages) -> None:
    found = Filters(FilterTerms(), passages).reasons([EXAM, "Nothing."])
    assert list(found) == ["in evaluation set exam", None]
    off = Filters(FilterTerms(contamination=False), passages)
    assert list(off.reasons([EXAM])) == [None]
    assert off.inputs != Filters(FilterTerms(), passages).inputs


def test_texts_of_low_quality_are_left_out_where_a_head_tells_them(
    passages: Passages, tiny_bert_folder: Path, tmp_path: Path
) -> None:
    good = [f"acute infarction of the heart, day {number}" for number in range(8)]
    bad = [f"{number}@@##{number}heart%%heart^^{number}" for number in range(8)]
    encoder = quality.Encoder(tiny_bert_folder)
    quality.train(encoder, good + bad, [True] * 8 + [False] * 8).save(tmp_path / "head")
    terms = FilterTerms(quality=tiny_bert_folder, head=tmp_path / "head")
    filters = Filters(terms, passages)
    assert list(filters.reasons([good[0], bad[0], EXAM])) == [
        None,
        LOW_QUALITY,
        "in evaluation set exam",
    ]
    assert filters.inputs["quality"]["model"] == encoder.digest
    with pytest.raises(ModelError, match="train a head of your own"):
        Filters(FilterTerms(quality=tiny_bert_folder), passages)
