"""Documents as tokens, framed and tagged, and what a tokenizer's special tokens are for."""

import pytest
from server.pretraining.corpus.tokenizer import ROLES, TEXTS, tokenizer

from fedward_server.pretraining.corpus.encoding import Encoding
from fedward_shared.errors import ModelError


def test_a_document_is_framed_and_each_segment_tagged() -> None:
    own = tokenizer()
    [found, alone] = Encoding(own).encode(
        [[("Typhoid fever", "en"), ("伤寒", "zh")], [("fièvre", "fr")]]
    )
    text = own.decode(found)
    assert text == "[CLS][EN]Typhoid fever[ZH]伤寒[SEP]"
    assert own.decode(alone) == "[CLS]fièvre[SEP]"


def test_what_is_spelled_like_a_special_token_is_text() -> None:
    [found] = Encoding(tokenizer()).encode([[("[SEP] and [MASK]", "en")]])
    special = Encoding(tokenizer()).symbols.special
    assert [token for token in found if token in special] == [found[0], found[1], found[-1]]
    assert tokenizer().backend_tokenizer.encode_special_tokens is False


def test_the_symbols_are_those_of_the_tokenizer() -> None:
    own = tokenizer()
    symbols = Encoding(own).symbols
    assert (symbols.padding, symbols.mask, symbols.end) == (0, 3, 2)
    assert [own.convert_ids_to_tokens(number) for number in symbols.sentinels] == [
        f"<extra_id_{number}>" for number in range(12)
    ]
    assert symbols.special == frozenset(range(4 + 2 + 12))
    assert symbols.vocabulary == len(own)


def test_the_digest_stands_for_what_is_encoded_and_not_for_what_was() -> None:
    own = tokenizer()
    before = Encoding(own)
    tokens = before.encode([[(text, "en")] for text in TEXTS])
    own(list(TEXTS), padding=True, truncation=True, max_length=4)
    for after in (before, Encoding(own)):
        assert after.digest == before.digest
        assert after.encode([[(text, "en")] for text in TEXTS]) == tokens
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(
        tokenizer_object=own.backend_tokenizer, **ROLES | {"cls_token": None}
    )
    assert Encoding(other).digest != before


def test_a_tokenizer_that_ends_no_document_is_refused() -> None:
    from transformers import PreTrainedTokenizerFast

    without = PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer)
    with pytest.raises(ModelError, match=r"neither \[SEP\] nor \[EOS\]"):
        Encoding(without)
