"""Span corruption of many rows at once: which tokens are taken out, and what encoder and decoder see.

A row of R tokens loses `noise` of them in `spans` spans, as many as T5 (Raffel et al. 2020) takes of it.
Where they lie differs: T5 corrupts a document and packs afterwards, and what it corrupts ends with a
span. Here a row is packed first, so that all rows have the same length. A span lies within a *block*:
tokens of one document without a special one between. Spans fall on blocks in proportion to their
tokens, and at least one token lies between two of a block.
"""

from typing import NamedTuple

import numpy as np

from fedward_server.pretraining.corpus.packing import PADDING, Packed, positions


class Budget(NamedTuple):
    """How many tokens are taken out of a row, in how many spans."""

    noise: int
    spans: int


def budget(length: int, share: float, span: float) -> Budget:
    """What is taken out of `length` tokens."""
    noise = min(max(1, round(length * share)), max(0, length - 1))
    return Budget(noise, min(noise, max(1, round(noise / span))))


def raw_length(context: int, share: float, span: float) -> int:
    """The most tokens of which the encoder reads `context`, once a sentinel stands for each span."""
    length = context
    while True:
        noise, count = budget(length + 1, share, span)
        if length + 1 - noise + count > context:
            return length
        length += 1


class Spans(NamedTuple):
    """Which tokens are taken out, where a span begins, and there its number in its document, [B, R]."""

    noise_BR: np.ndarray
    begins_BR: np.ndarray
    numbers_BR: np.ndarray

    def encoder(self, packed: Packed, sentinels: np.ndarray, padding: int, context: int) -> Packed:
        """What stays, and a sentinel for each span, [B, T]; what is beyond T is cut off."""
        kept_BR, places_BR = _kept(packed.documents_BT, self.noise_BR, self.begins_BR)
        kept_BR &= places_BR < context
        said_BR = np.where(self.begins_BR, sentinels[self.numbers_BR], packed.tokens_BT)
        tokens_BT = np.full((len(kept_BR), context), padding, np.int64)
        documents_BT = np.full((len(kept_BR), context), PADDING, np.int64)
        rows, columns = np.nonzero(kept_BR)
        tokens_BT[rows, places_BR[rows, columns]] = said_BR[rows, columns]
        documents_BT[rows, places_BR[rows, columns]] = packed.documents_BT[rows, columns]
        return Packed(tokens_BT, documents_BT, positions(documents_BT))

    def decoder(
        self, packed: Packed, sentinels: np.ndarray, end: int, ignored: int, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Each span after its sentinel, `end` after a document's last; and the documents, [B, U]."""
        closes_BR = _last(self.noise_BR, packed.documents_BT)
        counts_BR = self.noise_BR.astype(np.int64) + self.begins_BR + closes_BR
        places_BR = np.cumsum(counts_BR, axis=1) - counts_BR
        labels_BU = np.full((len(counts_BR), length), ignored, np.int64)
        documents_BU = np.full((len(counts_BR), length), PADDING, np.int64)
        said_BR = sentinels[self.numbers_BR]
        for chosen_BR, offset, values_BR in (
            (self.begins_BR, 0, said_BR),
            (self.noise_BR, self.begins_BR, packed.tokens_BT),
            (closes_BR, self.begins_BR + 1, np.full_like(said_BR, end)),
        ):
            rows, columns = np.nonzero(chosen_BR)
            places = (places_BR + offset)[rows, columns]
            labels_BU[rows, places] = values_BR[rows, columns]
            documents_BU[rows, places] = packed.documents_BT[rows, columns]
        return labels_BU, documents_BU


def spans(
    free_BR: np.ndarray,
    documents_BR: np.ndarray,
    budgets_B2: np.ndarray,
    draws_B4R: np.ndarray,
    context: int,
) -> Spans:
    """Spans among the tokens that are `free_BR`, of each row what its budget has: noise, spans.

    `draws_B4R` are four random uint64 for each token. Where documents of one or two tokens fill a row
    there is less to take out: it has fewer, and none that begins beyond what the encoder reads.
    """
    rows_M, columns_M = np.nonzero(free_BR)
    apart_M = np.ones(len(rows_M), bool)
    apart_M[1:] = (
        (np.diff(rows_M) != 0)
        | (np.diff(columns_M) != 1)
        | (np.diff(documents_BR[rows_M, columns_M]) != 0)
    )
    rows_K = rows_M[apart_M]
    sizes_K = np.diff(np.append(np.flatnonzero(apart_M), len(rows_M)))
    keys_M = draws_B4R[rows_M, 0, columns_M]
    spans_K = _spans_of_blocks(rows_M, keys_M, rows_K, sizes_K, budgets_B2[:, 1])
    extra_K = _extra_of_blocks(rows_K, sizes_K, spans_K, budgets_B2[:, 0], draws_B4R[:, 1])
    lengths_S = 1 + _parted(extra_K, spans_K, rows_K, draws_B4R[:, 2])
    free_K = sizes_K - spans_K - extra_K - np.maximum(spans_K - 1, 0)
    gaps_G = _parted(free_K, spans_K + 1, rows_K, draws_B4R[:, 3])

    noise_BR, begins_BR = np.zeros(free_BR.shape, bool), np.zeros(free_BR.shape, bool)
    noise_BR[rows_M, columns_M], begins_BR[rows_M, columns_M] = _placed(spans_K, lengths_S, gaps_G)
    seen_BR = _kept(documents_BR, noise_BR, begins_BR)[1] < context
    noise_BR, begins_BR = noise_BR & seen_BR, begins_BR & seen_BR
    return Spans(noise_BR, begins_BR, _numbered(begins_BR, documents_BR))


def _spans_of_blocks(
    rows_M: np.ndarray,
    keys_M: np.ndarray,
    rows_K: np.ndarray,
    sizes_K: np.ndarray,
    spans_B: np.ndarray,
) -> np.ndarray:
    """How many spans each block has: as many as free tokens drawn in it, while they have room there."""
    drawn_M = _ranks(rows_M, keys_M) < spans_B[rows_M]
    drawn_K = np.bincount(np.repeat(np.arange(len(sizes_K)), sizes_K), drawn_M, len(sizes_K))
    most_K = (sizes_K + 1) // 2
    spans_K = np.minimum(drawn_K.astype(np.int64), most_K)
    over_B = np.bincount(rows_K, drawn_K - spans_K, len(spans_B)).astype(np.int64)
    room_K = most_K - spans_K
    before_K = _before(room_K, rows_K)
    found_K: np.ndarray = spans_K + np.clip(over_B[rows_K] - before_K, 0, room_K)
    return found_K


def _extra_of_blocks(
    rows_K: np.ndarray,
    sizes_K: np.ndarray,
    spans_K: np.ndarray,
    noise_B: np.ndarray,
    draws_BR: np.ndarray,
) -> np.ndarray:
    """How many tokens the spans of each block have beyond one each: drawn from all there is room for."""
    extra_B = noise_B - np.bincount(rows_K, spans_K, len(noise_B)).astype(np.int64)
    room_K = np.where(spans_K > 0, sizes_K - 2 * spans_K + 1, 0)
    blocks_N = np.repeat(np.arange(len(room_K)), room_K)
    rows_N = rows_K[blocks_N]
    keys_N = draws_BR[rows_N, _ranks(rows_N, np.arange(len(rows_N)))]
    drawn_N = _ranks(rows_N, keys_N) < extra_B[rows_N]
    return np.bincount(blocks_N[drawn_N], minlength=len(room_K))


def _parted(
    stars_K: np.ndarray, parts_K: np.ndarray, rows_K: np.ndarray, draws_BR: np.ndarray
) -> np.ndarray:
    """Each block's stars in so many parts, any way with the same probability: the parts of all blocks.

    Stars and bars in the order of their keys; a part is what lies between two bars.
    """
    bars_K = np.maximum(parts_K - 1, 0)
    items_K = stars_K + bars_K
    blocks_N = np.repeat(np.arange(len(items_K)), items_K)
    rows_N = rows_K[blocks_N]
    keys_N = draws_BR[rows_N, _ranks(rows_N, np.arange(len(rows_N)))]
    within_N = np.arange(len(blocks_N)) - np.repeat(np.cumsum(items_K) - items_K, items_K)
    bars_N = (within_N < bars_K[blocks_N])[np.lexsort((keys_N, blocks_N))]
    passed_N = np.cumsum(bars_N) - (np.cumsum(bars_K) - bars_K)[blocks_N]
    part_N = (np.cumsum(parts_K) - parts_K)[blocks_N] + passed_N
    return np.bincount(part_N[~bars_N], minlength=int(parts_K.sum()))


def _placed(
    spans_K: np.ndarray, lengths_S: np.ndarray, gaps_G: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the tokens of all blocks, [M], which are taken out, and at which a span begins.

    A block is gap, span, gap … span, gap; the gaps between spans have one token more than `gaps_G`.
    """
    owners_G = np.repeat(np.arange(len(spans_K)), spans_K + 1)
    within_G = np.arange(len(owners_G)) - np.searchsorted(owners_G, owners_G)
    inner_G = (within_G > 0) & (within_G < spans_K[owners_G])
    taken = np.ones(len(gaps_G) + len(lengths_S), bool)
    taken[2 * np.arange(len(owners_G)) - owners_G] = False
    sizes = np.empty(len(taken), np.int64)
    sizes[~taken], sizes[taken] = gaps_G + inner_G, lengths_S
    noise_M = np.repeat(taken, sizes)
    begins_M = np.zeros(len(noise_M), bool)
    begins_M[(np.cumsum(sizes) - sizes)[taken]] = True
    return noise_M, begins_M


def _ranks(groups_N: np.ndarray, keys_N: np.ndarray) -> np.ndarray:
    """The place of each key among those of its group; groups are in order."""
    order_N = np.lexsort((keys_N, groups_N))
    ranks_N = np.empty(len(keys_N), np.int64)
    ranks_N[order_N] = np.arange(len(keys_N))
    return ranks_N - np.searchsorted(groups_N, groups_N)


def _before(values_K: np.ndarray, rows_K: np.ndarray) -> np.ndarray:
    """The sum of the values before each in its row."""
    sums_K = np.cumsum(values_K) - values_K
    before_K: np.ndarray = sums_K - sums_K[np.searchsorted(rows_K, rows_K)]
    return before_K


def _kept(
    documents_BR: np.ndarray, noise_BR: np.ndarray, begins_BR: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens an encoder sees, those where spans begin as sentinels; and the place of each."""
    kept_BR = (documents_BR != PADDING) & (~noise_BR | begins_BR)
    return kept_BR, np.cumsum(kept_BR, axis=1) - 1


def _last(noise_BR: np.ndarray, documents_BR: np.ndarray) -> np.ndarray:
    """Of the tokens that are taken out the last of each document."""
    rows, columns = np.nonzero(noise_BR)
    documents = documents_BR[rows, columns]
    last = np.ones(len(rows), bool)
    last[:-1] = (np.diff(rows) != 0) | (np.diff(documents) != 0)
    found_BR = np.zeros(noise_BR.shape, bool)
    found_BR[rows[last], columns[last]] = True
    return found_BR


def _numbered(begins_BR: np.ndarray, documents_BR: np.ndarray) -> np.ndarray:
    """The number, from 0 on, of each span in its document."""
    rows, columns = np.nonzero(begins_BR)
    groups = rows * (documents_BR.shape[1] + 1) + documents_BR[rows, columns]
    numbers_BR = np.zeros(begins_BR.shape, np.int64)
    numbers_BR[rows, columns] = np.arange(len(rows)) - np.searchsorted(groups, groups)
    return numbers_BR
