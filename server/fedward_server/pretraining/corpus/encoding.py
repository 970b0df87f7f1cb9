"""Documents as tokens: a tokenizer of transformers, and what is put around a document."""

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

from tokenizers import Tokenizer

from fedward_server.pretraining.corpus.objectives import Symbols
from fedward_server.pretraining.corpus.sources import Segment
from fedward_shared import canonical
from fedward_shared.errors import ModelError


class Encoding:
    """A tokenizer (`PreTrainedTokenizerFast`) as a corpus is written with it.

    A document begins with the tokenizer's [CLS] or [BOS] and ends with its [SEP] or [EOS], where it has
    them; before each segment stands the tag of its language, `[EN]`, where the tokenizer has that. What
    is spelled in a text like a special token is text.
    Raises ModelError for a tokenizer that ends no document: where one ends could not be learned.
    """

    def __init__(self, tokenizer: Any) -> None:
        # A copy: the tokenizer may be set to cut off or fill up texts, or be so later.
        self._core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._core.no_truncation()
        self._core.no_padding()
        self._core.encode_special_tokens = True
        self.vocabulary = len(tokenizer)
        begin = _first(tokenizer.cls_token_id, tokenizer.bos_token_id)
        end = _first(tokenizer.sep_token_id, tokenizer.eos_token_id)
        if end is None:
            raise ModelError("the tokenizer has no token that ends a text: neither [SEP] nor [EOS]")
        self._begin = [] if begin is None else [begin]
        self._end = [end]
        self._tags: dict[str, list[int]] = {}
        self.symbols = _symbols(tokenizer, end)
        parts = [self._core.to_str(), self.vocabulary, self._begin, self._end]
        self.digest = canonical.digest(json.dumps(parts).encode())

    def encode(self, documents: Sequence[Sequence[Segment]]) -> list[list[int]]:
        """The tokens of each document, which is segments of text."""
        texts = [text for document in documents for text, _ in document]
        encoded = iter(self._core.encode_batch_fast(texts, add_special_tokens=False))
        return [
            [
                *self._begin,
                *chain.from_iterable(
                    [*self._tag(language), *next(encoded).ids] for _, language in document
                ),
                *self._end,
            ]
            for document in documents
        ]

    def _tag(self, language: str) -> list[int]:
        if language not in self._tags:
            number = self._core.token_to_id(f"[{language.upper()}]")
            self._tags[language] = [] if number is None else [number]
        return self._tags[language]


def _first(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None), None)


def _symbols(tokenizer: Any, end: int) -> Symbols:
    added = {
        number: str(token)
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special
    }
    sentinels = {}
    for number, token in added.items():
        name = token.removeprefix("<extra_id_").removesuffix(">")
        if token.startswith("<extra_id_") and name.isdigit():
            sentinels[int(name)] = number
    padding = tokenizer.pad_token_id
    return Symbols(
        vocabulary=len(tokenizer),
        padding=end if padding is None else padding,
        special=frozenset(added) | set(tokenizer.all_special_ids),
        mask=tokenizer.mask_token_id,
        end=end,
        sentinels=tuple(number for _, number in sorted(sentinels.items())),
    )
