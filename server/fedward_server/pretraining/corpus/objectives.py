"""What a model is to predict of a row.

**masked** (BERT, Devlin et al. 2019): of a share of the tokens 80 % are replaced by the mask, 10 % by
another token, 10 % stay; what stood there is predicted.
**causal**: each token is predicted from those before it in its document; its first from nothing, so
it is not.
**spans** (T5, Raffel et al. 2020): spans of tokens are each replaced by one sentinel, and the decoder
says what stood there. A span lies in one document; each document's sentinels begin with the first.

Labels are *aligned*: `labels_BT[b, t]` is what the logits at t of the same row have to predict; nothing
is shifted afterwards. −100 is where nothing is predicted.

What is drawn for a row depends on the seed and the row alone (Philox, Salmon et al. 2011, keyed by
them): not on the batch it is in, the worker, or what was drawn before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from fedward_server.pretraining.corpus.packing import PADDING, Packed, positions
from fedward_server.pretraining.corpus.spans import Budget, budget, raw_length, spans
from fedward_server.pretraining.corpus.stream import Row
from fedward_shared.errors import UsageError
from fedward_shared.terms import Terms

IGNORED = -100
MASKED, REPLACED = 0.8, 0.9
"""Of the tokens to predict, the share that is masked, and that with those another is put for."""


class ObjectiveTerms(Terms):
    """What is predicted: `share` of the tokens (masked, spans), in spans of `span` on average."""

    kind: Literal["masked", "causal", "spans"]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    span: Annotated[float, Field(ge=1)] = 3.0


class Symbols(Terms):
    """The ids of a tokenizer that mean something of their own.

    `special` are those that stand for no text: none is masked, or put in another's place. `padding`
    begins a decoder's part of a document, as in T5; `end` closes it.
    """

    vocabulary: int
    padding: int
    special: frozenset[int]
    mask: int | None = None
    end: int | None = None
    sentinels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Batch:
    """B rows as a model reads them, int64: tokens, their documents (0 is padding), positions in these.

    `labels` are [B, T], or [B, U] where there is a decoder, whose documents have the encoder's numbers.
    """

    tokens_BT: torch.Tensor
    documents_BT: torch.Tensor
    positions_BT: torch.Tensor
    labels: torch.Tensor
    decoder_tokens_BU: torch.Tensor | None = None
    decoder_documents_BU: torch.Tensor | None = None
    decoder_positions_BU: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens_BT)

    @property
    def tokens(self) -> int:
        """How many tokens a model reads of them, padding left out."""
        decoder = self.decoder_documents_BU
        read = int((self.documents_BT != PADDING).sum())
        return read if decoder is None else read + int((decoder != PADDING).sum())

    @property
    def predicted(self) -> int:
        """How many tokens of them are predicted."""
        return int((self.labels != IGNORED).sum())

    def cut(self, start: int, stop: int) -> "Batch":
        """Rows `start` … `stop` - 1."""

        def part(tensor: torch.Tensor | None) -> Any:
            return None if tensor is None else tensor[start:stop]

        return Batch(*(part(getattr(self, field.name)) for field in fields(self)))


class Objective:
    """Rows into batches. `context` is how many tokens the model, or its encoder, reads of a row.

    Raises UsageError if the tokenizer lacks what the objective puts into a text.
    """

    def __init__(
        self, terms: ObjectiveTerms, symbols: Symbols, context: int, seed: int, packed: bool = True
    ) -> None:
        self.terms, self.symbols, self.context = terms, symbols, context
        self._seed, self.packed = seed, packed
        self.length = (
            raw_length(context, terms.share, terms.span) if terms.kind == "spans" else context
        )
        special = np.zeros(symbols.vocabulary, bool)
        special[list(symbols.special)] = True
        self._special_V = special
        self._ordinary = np.flatnonzero(~special)
        _check(terms, symbols, self.largest())

    def largest(self) -> Budget:
        """What is replaced in a row that is full (spans)."""
        return budget(self.length, self.terms.share, self.terms.span)

    @property
    def decoder_length(self) -> int:
        """U: tokens of a decoder's row; each document whose spans it says is closed by itself."""
        noise, count = self.largest()
        return noise + count + (count if self.packed else 1)

    def batch(self, rows: Sequence[Row], packed: Packed) -> Batch:
        """The batch of `rows`, whose tokens [B, `length`] are `packed`."""
        match self.terms.kind:
            case "causal":
                labels_BT = np.full_like(packed.tokens_BT, IGNORED)
                documents_BT = packed.documents_BT
                same_BT = documents_BT[:, 1:] == documents_BT[:, :-1]
                known_BT = same_BT & (documents_BT[:, 1:] != PADDING)
                labels_BT[:, :-1] = np.where(known_BT, packed.tokens_BT[:, 1:], IGNORED)
                return _batch(*packed, labels_BT)
            case "masked":
                return self._masked(rows, packed)
            case "spans":
                return self._spans(rows, packed)

    def _masked(self, rows: Sequence[Row], packed: Packed) -> Batch:
        tokens_BT = packed.tokens_BT
        draws_BT2 = self._draws(rows, 2 * self.length).reshape(*tokens_BT.shape, 2)
        free_BT = self._free(packed)
        keys_BT = np.where(free_BT, draws_BT2[..., 0] >> np.uint64(1), np.uint64(2**64 - 1))
        ranks_BT = np.argsort(np.argsort(keys_BT, axis=1, kind="stable"), axis=1)
        free_B1 = free_BT.sum(1, keepdims=True)
        counts_B1 = np.where(free_B1, np.maximum(1, np.rint(free_B1 * self.terms.share)), 0)
        chosen_BT = ranks_BT < counts_B1
        kinds_BT, others_BT = np.divmod(draws_BT2[..., 1], np.uint64(2**32))
        others_BT = self._ordinary[others_BT % np.uint64(len(self._ordinary))]
        assert self.symbols.mask is not None
        put_BT = np.where(kinds_BT < MASKED * 2**32, self.symbols.mask, others_BT)
        masked_BT = np.where(chosen_BT & (kinds_BT < REPLACED * 2**32), put_BT, tokens_BT)
        labels_BT = np.where(chosen_BT, tokens_BT, IGNORED)
        return _batch(masked_BT, packed.documents_BT, packed.positions_BT, labels_BT)

    def _spans(self, rows: Sequence[Row], packed: Packed) -> Batch:
        draws_B4T = self._draws(rows, 4 * self.length).reshape(len(rows), 4, self.length)
        sizes_B = (packed.documents_BT != PADDING).sum(1)
        budgets = [budget(int(size), self.terms.share, self.terms.span) for size in sizes_B]
        free_BT, documents_BT = self._free(packed), packed.documents_BT
        found = spans(free_BT, documents_BT, np.array(budgets), draws_B4T, self.context)
        sentinels = np.array(self.symbols.sentinels)
        encoder = found.encoder(packed, sentinels, self.symbols.padding, self.context)
        assert self.symbols.end is not None
        labels_BU, documents_BU = found.decoder(
            packed, sentinels, self.symbols.end, IGNORED, self.decoder_length
        )
        before_BU = np.roll(labels_BU, 1, axis=1)
        positions_BU = positions(documents_BU)
        inputs_BU = np.where(
            (positions_BU == 0) | (documents_BU == PADDING), self.symbols.padding, before_BU
        )
        return _batch(*encoder, labels_BU, inputs_BU, documents_BU, positions_BU)

    def _free(self, packed: Packed) -> np.ndarray:
        """Which tokens are text."""
        free_BT: np.ndarray = ~self._special_V[packed.tokens_BT] & (packed.documents_BT != PADDING)
        return free_BT

    def _draws(self, rows: Sequence[Row], count: int) -> np.ndarray:
        """`count` random uint64 for each row."""
        return np.array([_draws(self._seed, row, count) for row in rows], np.uint64)


def _draws(seed: int, row: Row, count: int) -> np.ndarray:
    named = f"{seed}/{row.source}/{row.epoch}/{row.number}".encode()
    key = np.frombuffer(blake2b(named, digest_size=16).digest(), "<u8")
    draws_N: np.ndarray = np.random.Philox(key=key).random_raw(count)
    return draws_N


def _batch(*arrays: np.ndarray) -> Batch:
    return Batch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _check(terms: ObjectiveTerms, symbols: Symbols, largest: Budget) -> None:
    if terms.kind == "masked" and symbols.mask is None:
        raise UsageError("objective masked: the tokenizer has no mask token")
    if terms.kind == "spans" and symbols.end is None:
        raise UsageError("objective spans: the tokenizer has no token that ends a text")
    if terms.kind == "spans" and len(symbols.sentinels) < largest.spans:
        raise UsageError(
            f"objective spans: a row has up to {largest.spans} spans and the tokenizer "
            f"{len(symbols.sentinels)} sentinels: add sentinels, or take shorter rows or longer spans"
        )
    if len(symbols.special) >= symbols.vocabulary:
        raise UsageError("the tokenizer has special tokens only")
