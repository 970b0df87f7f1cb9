"""Names found by a model: where they stand, in windows, bound to a base model, in every text alone."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_client.preparation.identifiers import scrub, tagger
from fedward_client.preparation.identifiers.patterns import plain
from fedward_client.preparation.identifiers.spans import Found, Kind
from fedward_client.preparation.identifiers.tagger import Encoder, Head, Tagger
from fedward_shared.errors import AdapterError, DataError, ModelError
from fedward_simulations import names
from fedward_simulations.data import base_models
from fedward_simulations.data.planted import Planted, Text

LAYERS = (0, 2)
PEOPLE = ("Zorblat", "Quimby", "Fenwick-Hobbs", "Öztürk", "Ka", "O'Neil")
SENTENCE = "acute infarction of the heart with fever and pain in the left knee"
WORDS = SENTENCE.split()


def _sample(number: int) -> names.Sample:
    name = f"{PEOPLE[number % 6]} {PEOPLE[(number + number // 6 + 1) % 6]}"
    before = " ".join(WORDS[number % 5 : number % 5 + 1 + number % 7])
    text = f"{before} {name} {' '.join(WORDS[3:8])}"
    start = len(before) + 1
    return names.Sample(Text(text, (Planted(Kind.NAME, start, start + len(name)),), "en"), number)


@pytest.fixture(scope="module")
def samples(tiny_bert_folder: Path) -> names.Samples:
    return names.encoded(
        [_sample(number) for number in range(60)], Encoder(tiny_bert_folder, LAYERS)
    )


@pytest.fixture(scope="module")
def head(samples: names.Samples) -> Head:
    return names.fit(samples, np.ones(len(samples.row_N), bool), LAYERS, 0.5, epochs=20)


@pytest.fixture(scope="module")
def capitals(tiny_bert_folder: Path, head: Head) -> Tagger:
    """Takes words with a capital for names, so that it is known which are found."""
    width = len(head.tensors["mean"])
    inner_HF = torch.zeros(1, width)
    inner_HF[0, width - tagger.SURFACE] = 1
    content = {
        "layers": head.tensors["layers"],
        "mean": torch.zeros(width),
        "scale": torch.ones(width),
        "inner": inner_HF,
        "inner_bias": torch.zeros(1),
        "outer": torch.full((1,), 20.0),
        "outer_bias": torch.full((1,), -10.0),
        "cut": torch.full((1,), 0.5),
    }
    return Tagger(tiny_bert_folder, Head(head.base_model, content))


def _found(tagger: Tagger, text: str) -> list[str]:
    return [text[span.start : span.end] for span in tagger.find(text)]


def test_names_are_found_where_they_stand(capitals: Tagger) -> None:
    assert _found(capitals, "pain of the Zorblat Quimby with fever") == ["Zorblat Quimby"]
    assert _found(capitals, "pain of the Fenwick-Hobbs with fever") == ["Fenwick-Hobbs"]
    assert _found(capitals, "acute infarction of the heart with fever") == []


@pytest.mark.parametrize(
    "before",
    [
        "👩🏽‍⚕️ pain of the ",
        "cafe\u0301 pain of the ",
        "患者 ",
        "ﬁ\u00a0 pain of the ",
        "\x00 of the ",
    ],
)
def test_what_a_tokenizer_changes_moves_no_place(capitals: Tagger, before: str) -> None:
    text = f"{before}Zorblat Quimby with fever"
    assert "Zorblat Quimby" in _found(capitals, text)


def test_an_accent_of_its_own_belongs_to_its_word(capitals: Tagger) -> None:
    assert _found(capitals, "pain of the O\u0308ztu\u0308rk Quimby with fever") == [
        "O\u0308ztu\u0308rk Quimby"
    ]


def test_a_long_text_is_read_to_its_end(capitals: Tagger) -> None:
    filler = " ".join(WORDS) + ". "
    text = filler * 30 + "pain of the Zorblat Quimby with fever " + filler * 30 + "of the Quimby Ka"
    assert _found(capitals, text)[:: max(1, len(_found(capitals, text)) - 1)] == [
        "Zorblat Quimby",
        "Quimby Ka",
    ]


def test_a_text_that_is_mostly_chinese_is_left_to_the_rules(capitals: Tagger) -> None:
    assert capitals.find("患者张伟因胸痛入院") == []
    assert capitals.find("患者因胸痛入院，血压正常，CT Zorblat 正常，明天出院") == []
    assert capitals.find("") == capitals.find("37.2 / 8") == []


def test_what_rules_find_stays_found(capitals: Tagger) -> None:
    text = "seen by Dr. Smith with a pain of the Zorblat Quimby on 2021-03-04"
    alone, both = scrub.find(text), scrub.find(text, more=capitals.find)
    covered = {place for span in both for place in range(span.start, span.end)}
    assert all(covered.issuperset(range(span.start, span.end)) for span in alone)
    assert scrub.scrub(text, more=capitals.find).text == (
        "seen by [NAME] with a pain of the [NAME] on [DATE]"
    )


@given(st.integers(0, 1000))
def test_windows_take_every_token_once(tokens: int) -> None:
    taken = [
        place for window in tagger.windows(tokens) for place in range(window.first, window.last)
    ]
    assert taken == list(range(tokens))
    for window in tagger.windows(tokens):
        assert window.end - window.start <= tagger.WINDOW
        assert window.first - window.start >= min(tagger.MARGIN, window.first)
        assert window.end - window.last >= min(tagger.MARGIN, tokens - window.last)


@given(st.text())
def test_words_of_any_text_have_places_in_it(text: str) -> None:
    found = tagger.places(plain(text))
    assert all(0 <= start < end <= len(text) for start, end in found)
    assert found == sorted(found)
    spans = tagger.named(text, found, np.ones(len(found), bool))
    assert all(one.end <= two.start for one, two in itertools.pairwise(spans))


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_any_text_is_read(capitals: Tagger, text: str) -> None:
    assert all(isinstance(found, Found) for found in capitals.find(text))
    assert capitals.find(text) == capitals.find(text)


def test_the_same_words_give_the_same_bytes(
    samples: names.Samples, head: Head, tmp_path: Path
) -> None:
    again = names.fit(samples, np.ones(len(samples.row_N), bool), LAYERS, 0.5, epochs=20)
    head.save(tmp_path / "a")
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = Head.load(tmp_path / "a")
    assert (loaded.base_model, loaded.layers, loaded.cut) == (head.base_model, LAYERS, 0.5)
    assert loaded.digest == head.digest


def test_the_shipped_head_is_whole_and_refuses_another_base_model(tiny_bert_folder: Path) -> None:
    shipped = Head.load()
    assert len(shipped.tensors["mean"]) == 384 * len(shipped.layers) + tagger.SURFACE
    assert shipped.digest in (Path(tagger.__file__).parent / "names.md").read_text("utf-8")
    with pytest.raises(ModelError, match="the head that finds names was trained on"):
        Tagger(tiny_bert_folder)


def test_the_shipped_head_finds_what_no_rule_does() -> None:
    text = "Handover: Kowalczyk is waiting for CT, potassium low. Parkinson's disease, on Madopar."
    assert scrub.find(text) == []
    found = scrub.find(text, more=Tagger(base_models.minilm()).find)
    assert [text[span.start : span.end] for span in found] == ["Kowalczyk"]


def test_a_head_learns_which_words_are_names(samples: names.Samples, head: Head) -> None:
    told_N = head.probabilities(samples.features_NF) >= 0.5
    assert (told_N == samples.is_name_N).mean() > 0.85


def test_what_is_no_head_is_refused(tmp_path: Path, head: Head) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Head.load(tmp_path / "none")
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(AdapterError, match="not a safetensors file"):
        Head.load(tmp_path / "junk")
    Head("", head.tensors).save(tmp_path / "unbound")
    with pytest.raises(AdapterError, match="no base model"):
        Head.load(tmp_path / "unbound")
    replace(head, tensors={**head.tensors, "mean": head.tensors["mean"][1:]}).save(
        tmp_path / "short"
    )
    with pytest.raises(AdapterError, match="shape"):
        Head.load(tmp_path / "short")
    with pytest.raises(AdapterError, match="train it again"):
        head.probabilities(np.zeros((1, 3), np.float32))
