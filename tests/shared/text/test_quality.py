"""The score of a text: bound to a base model, the same in any company, learnt from labels."""

from pathlib import Path

import numpy as np
import pytest

from fedward_shared.errors import AdapterError, DataError, ModelError
from fedward_shared.text import quality, surface
from fedward_shared.text.quality import Encoder, Head, Scorer

GOOD = [f"acute infarction of the heart, day {number}" for number in range(8)]
BAD = [f"{number}@@##{number}heart%%heart^^{number}" for number in range(8)]


@pytest.fixture(scope="module")
def head(tiny_bert_folder: Path) -> Head:
    return quality.train(Encoder(tiny_bert_folder), GOOD + BAD, [True] * 8 + [False] * 8)


def test_a_head_of_labels_tells_them_apart(tiny_bert_folder: Path, head: Head) -> None:
    scores = Scorer(tiny_bert_folder, head).score(GOOD + BAD)
    assert min(scores[:8]) > quality.CUT > max(scores[8:])
    assert all(0 <= score <= 1 for score in scores)


def test_a_score_does_not_depend_on_the_other_texts(tiny_bert_folder: Path, head: Head) -> None:
    scorer = Scorer(tiny_bert_folder, head)
    together = scorer.score(GOOD + BAD)
    alone = [scorer.score([text])[0] for text in GOOD + BAD]
    assert together == pytest.approx(alone, abs=1e-6)


def test_the_same_labels_give_the_same_bytes(
    tiny_bert_folder: Path, head: Head, tmp_path: Path
) -> None:
    again = quality.train(Encoder(tiny_bert_folder), GOOD + BAD, [True] * 8 + [False] * 8)
    head.save(tmp_path / "a")
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = Head.load(tmp_path / "a")
    assert loaded.base_model == head.base_model


def test_the_shipped_head_is_whole_and_refuses_another_base_model(tiny_bert_folder: Path) -> None:
    assert len(Head.load().tensors["weight"]) == 384 + len(surface.FEATURES)
    with pytest.raises(ModelError, match="train a head of your own labels"):
        Scorer(tiny_bert_folder)


def test_a_text_without_words_has_no_quality(tiny_bert_folder: Path, head: Head) -> None:
    assert Scorer(tiny_bert_folder, head).score(["", " \n "]) == [0.0, 0.0]


def test_what_is_no_head_is_refused(tmp_path: Path, head: Head) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Head.load(tmp_path / "none")
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(AdapterError, match="not a safetensors file"):
        Head.load(tmp_path / "junk")
    Head("", head.tensors).save(tmp_path / "unbound")
    with pytest.raises(AdapterError, match="no base model"):
        Head.load(tmp_path / "unbound")
    with pytest.raises(AdapterError, match="train it again"):
        head.score(np.zeros((1, 3), np.float32))


def test_labels_have_to_be_of_both_kinds(tiny_bert_folder: Path) -> None:
    encoder = Encoder(tiny_bert_folder)
    with pytest.raises(DataError, match="a head needs both"):
        quality.train(encoder, GOOD, [True] * 8)
    with pytest.raises(DataError, match="text 2 is empty"):
        quality.train(encoder, ["heart", " "], [True, False])
    with pytest.raises(DataError, match="1 texts and 2 labels"):
        quality.train(encoder, ["heart"], [True, False])


def test_passages_hold_all_words_in_order() -> None:
    text = " ".join(f"Sentence {number} says nothing new." for number in range(60)) + " x" * 400
    parts = quality.passages(text)
    assert max(map(len, parts)) <= quality.PASSAGE
    assert " ".join(parts).split() == text.split()
    assert "".join(quality.passages("a" * 1000)) == "a" * 1000
    assert quality.passages("Short text.") == ["Short text."]
