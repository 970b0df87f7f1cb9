import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server.pretraining.bilingual import both, reviews, titles
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fedward_server.pretraining.extension import extend, merge, tagged
from fedward_server.pretraining.fertility import measure
from fedward_server.pretraining.tokenizers import load, train
from fedward_shared.errors import DataError, ModelError
from fedward_simulations.data.base_models import tiny_bert

MIXED = (("心脏 heart disease of native coronary artery 心脏 heart disease", "zh"),) * 5


def tokens(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def english():
    return train(titles()[::2], merges=500, objective="causal")


@pytest.fixture(scope="module")
def extended(english):
    return extend(
        english,
        titles()[::2] + reviews()[:300] + MIXED,
        merges=600,
        keep=("en",),
        languages=("en", "zh"),
    )


def test_the_old_tokens_keep_their_numbers_and_the_new_ones_follow(english, extended) -> None:
    new = extended.tokenizer
    assert new.get_vocab().items() >= english.get_vocab().items()
    assert sorted(new.get_vocab().values()) == list(range(len(new)))
    assert len(new) == len(english) + extended.added + 2
    assert 500 < extended.added <= 600
    assert new.eos_token_id == english.eos_token_id
    assert new.tokenize("[ZH]")[0] == "[ZH]"


def test_texts_of_the_old_language_are_cut_as_before_seen_or_not(english, extended) -> None:
    assert (extended.changed, extended.kept > 1000) == (0, True)
    for text, _ in titles():
        assert tokens(extended.tokenizer, text) == tokens(english, text)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_in_ascii_is_cut_as_before(english, extended, text: str) -> None:
    assert tokens(extended.tokenizer, text) == tokens(english, text)


def test_texts_of_the_new_language_become_shorter_and_come_back(english, extended) -> None:
    unseen = reviews()[300:]
    [before], [after] = measure(english, unseen), measure(extended.tokenizer, unseen)
    assert after.tokens_per_character < 0.6 * before.tokens_per_character
    for text, _ in unseen[::10]:
        assert extended.tokenizer.decode(tokens(extended.tokenizer, text)) == text


def test_every_new_merge_can_happen(english, extended) -> None:
    """Each new piece is what the model makes of its own letters."""
    new = extended.tokenizer
    fresh = set(new.get_vocab()) - set(english.get_vocab()) - {"[EN]", "[ZH]"}
    cut = {piece: new.backend_tokenizer.model.tokenize(piece) for piece in fresh}
    reachable = sum(len(parts) == 1 for parts in cut.values())
    assert reachable == len(fresh)


def test_latin_words_are_joined_only_where_that_is_asked_for(english) -> None:
    word = "Straßenverkehrsamt"
    german = (((f"{word} ") * 5, "de"),)
    assert tokens(extend(english, german, merges=50).tokenizer, "verkehr") == tokens(
        english, "verkehr"
    )
    free = extend(english, german + titles()[::2], merges=50, keep=("en",), keep_ascii=False)
    assert len(tokens(free.tokenizer, word)) < len(tokens(english, word))
    assert free.changed == 0
    for text, _ in titles()[::2]:
        assert tokens(free.tokenizer, text) == tokens(english, text)


def test_the_same_texts_extend_to_the_same_bytes(english, extended) -> None:
    texts = MIXED + reviews()[:300][::-1] + titles()[::2]
    again = extend(english, texts, merges=600, keep=("en",), languages=("en", "zh"))
    assert (
        again.tokenizer.backend_tokenizer.to_str() == extended.tokenizer.backend_tokenizer.to_str()
    )


def test_two_vocabularies_become_one(english) -> None:
    chinese = train(reviews()[:300], merges=600, objective="causal")
    merged = merge(english, chinese, languages=("zh",))
    for text, _ in titles():
        assert tokens(merged.tokenizer, text) == tokens(english, text)
    unseen = reviews()[300:]
    [own], [joint] = measure(chinese, unseen), measure(merged.tokenizer, unseen)
    assert joint.tokens <= 1.02 * own.tokens
    assert merged.added == len(merged.tokenizer) - len(english) - 1


def test_nothing_to_learn_is_said(english) -> None:
    with pytest.raises(DataError, match="nothing can be learned"):
        extend(english, titles(), merges=10, keep=("en",))
    with pytest.raises(DataError, match="no two pieces"):
        extend(english, [("plain words", "de")], merges=10)


def test_what_is_no_byte_level_bpe_is_refused() -> None:
    core = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")
    with pytest.raises(ModelError, match="WordPiece and no byte-level BPE"):
        extend(wordpiece, both(), merges=10)
    with pytest.raises(ModelError, match="byte-level"):
        merge(wordpiece, wordpiece)


def test_any_kind_can_have_tags(tmp_path: Path) -> None:
    old = load(tiny_bert(tmp_path / "bert", 1, ["heart disease"]))
    new = tagged(old, ("en", "zh"))
    assert new.convert_tokens_to_ids(["[EN]", "[ZH]"]) == [len(old), len(old) + 1]
    assert tagged(new, ("zh",)).get_vocab() == new.get_vocab()
    assert new.tokenize("[ZH] heart") == ["[ZH]", "heart"]
    assert new("heart disease")["input_ids"] == old("heart disease")["input_ids"]


def test_a_language_to_be_kept_has_to_be_in_the_corpus(english) -> None:
    with pytest.raises(DataError, match="no text of de"):
        extend(english, both(), merges=10, keep=("en", "de"))


def test_a_new_pair_that_makes_an_old_piece_is_left_out(english, extended) -> None:
    old = json.loads(english.backend_tokenizer.to_str())["model"]
    new = json.loads(extended.tokenizer.backend_tokenizer.to_str())["model"]
    assert new["merges"][: len(old["merges"])] == old["merges"]
    appended = new["merges"][len(old["merges"]) :]
    assert all(left + right not in old["vocab"] for left, right in appended)
