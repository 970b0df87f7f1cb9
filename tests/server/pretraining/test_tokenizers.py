import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from server.pretraining.bilingual import both, reviews, titles

from fedward_server.pretraining.extension import extend
from fedward_server.pretraining.tokenizers import (
    TokenizerTerms,
    check_fits,
    load,
    make,
    rows,
    save,
    train,
)
from fedward_shared.errors import DataError, ModelError


def definition(tokenizer) -> str:
    return tokenizer.backend_tokenizer.to_str()


@pytest.fixture(scope="module")
def tokenizer():
    return train(both(), merges=700, objective="causal", languages=("en", "zh"))


def test_a_text_of_any_bytes_comes_back(tokenizer) -> None:
    for text, _ in [*both()[::50], ("tab\tand\r\n newline  ", "en"), ("😀 ሰላም \u0000", "am")]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_a_vocabulary_is_specials_and_bytes_and_merges(tokenizer) -> None:
    names = ["[PAD]", "[BOS]", "[EOS]", "[EN]", "[ZH]"]
    assert tokenizer.convert_tokens_to_ids(names) == [0, 1, 2, 3, 4]
    assert len(tokenizer) == 5 + 256 + 700
    assert rows(tokenizer, 128) == 1024
    assert "12" not in tokenizer.tokenize("1234")


CODE = """
import hashlib
from fedward_server.pretraining.tokenizers import train
from server.pretraining.bilingual import both
texts = both()[::{step}]
core = train(texts, merges=500, objective="masked").backend_tokenizer
print(hashlib.sha256(core.to_str().encode()).hexdigest())
"""


def test_the_same_texts_give_the_same_bytes_whatever_the_order_threads_and_process() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", CODE.format(step=step)],
            env={**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for step, threads in (("1", "1"), ("-1", "3"))
    }
    assert len(told) == 1


@pytest.mark.parametrize(
    ("objective", "framed"),
    [
        ("masked", ["[CLS]", "a", "[SEP]"]),
        ("causal", ["a"]),
        ("spans", ["a", "[EOS]"]),
    ],
)
def test_each_objective_has_its_special_tokens(objective: str, framed: list[str]) -> None:
    made = train([("a b", "en")], merges=0, objective=objective, sentinels=3)
    assert made.convert_ids_to_tokens(made("a")["input_ids"]) == framed
    assert ("<extra_id_2>" in made.get_vocab()) == (objective == "spans")
    assert (made.mask_token == "[MASK]") == (objective == "masked")
    assert made.eos_token in made.get_vocab()


def test_a_tokenizer_is_read_as_it_was_written_and_makes_nothing_twice(
    tokenizer, tmp_path: Path
) -> None:
    save(tokenizer, tmp_path / "tokenizer")
    read = load(tmp_path / "tokenizer")
    assert definition(read) == definition(tokenizer)
    assert read.eos_token_id == tokenizer.eos_token_id
    with pytest.raises(OSError, match=r"not empty|exists"):
        save(tokenizer, tmp_path / "tokenizer")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer"]


def test_a_corpus_without_text_trains_nothing() -> None:
    with pytest.raises(DataError, match="no text"):
        make(TokenizerTerms(merges=300), "causal", [("", "en")], seed=1)


def test_terms_train_extend_or_keep(tokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    save(train(titles(), merges=300, objective="causal"), folder)
    kept = make(TokenizerTerms(folder=folder, merges=0), "causal", iter(()), seed=1)
    assert definition(kept) == definition(load(folder))
    terms = TokenizerTerms(folder=folder, merges=200, keep=("en",), languages=("en", "zh"))
    made = make(terms, "causal", both(), seed=1)
    assert len(kept) + 2 < len(made) <= len(kept) + 200 + 2
    assert definition(make(terms, "causal", both(), seed=1)) == definition(made)
    tagged = make(
        TokenizerTerms(folder=folder, merges=0, languages=("zh",)), "causal", iter(()), seed=1
    )
    assert tagged.convert_tokens_to_ids("[ZH]") == len(kept)


def test_terms_that_cannot_be_are_refused() -> None:
    for wrong in (
        {"merges": -1},
        {"languages": ("EN",)},
        {"smoothing": 0},
        {"vocabulary": 5},
        {"keep": ("en",)},
    ):
        with pytest.raises(ValidationError):
            TokenizerTerms.model_validate(wrong)


def test_a_folder_without_a_tokenizer_or_with_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json: no such file"):
        load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tmp_path)


def config(**values) -> SimpleNamespace:
    return SimpleNamespace(
        **{"vocab_size": 1024, "pad_token_id": 0, "eos_token_id": [2, 7]} | values
    )


def test_a_tokenizer_fits_its_model(tokenizer) -> None:
    check_fits(tokenizer, config())
    check_fits(tokenizer, config(vocab_size=len(tokenizer), bos_token_id=None))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocab_size": 900}, "961 tokens and the model 900 rows"),
        ({"vocab_size": 30_522}, "another model's"),
        ({"pad_token_id": 1}, "pad_token_id: the tokenizer has 0 and the model's configuration 1"),
        ({"eos_token_id": [1, 7]}, "eos_token_id"),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(tokenizer, values, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_fits(tokenizer, config(**values))


def test_an_extended_one_no_longer_fits_until_the_embeddings_are_resized(tokenizer) -> None:
    longer = extend(tokenizer, reviews(), merges=200).tokenizer
    with pytest.raises(ModelError, match="resize the embeddings"):
        check_fits(longer, config())
