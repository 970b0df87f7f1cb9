"""Shingles: the overlapping pieces of a text whose share in common says how alike two texts are.

A text is compared as `records.normalised`, its punctuation left out. Where words are divided by spaces
a shingle is `WORDS` words, where they are not (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan)
it is `CHARACTERS` characters. The first character of a shingle decides, so that a text in two scripts
has both kinds. A text that is shorter than its first shingle is one shingle.

All of it is arithmetic on the code points of many texts at once: a shingle is hashed as a difference of
two prefix sums (Karp and Rabin 1987, modulo 2^64).
"""

import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from fedward_shared.records import normalised

WORDS = 3
"""Words of a shingle where a script has spaces."""

CHARACTERS = 5
"""Characters of a shingle where it has none."""

UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # 々〆〇
    (0x3041, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Chinese characters
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
"""Code points, both ends included, of scripts that do not divide words. Korean does."""

_END = "\0"
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))
_STARTS_A_TOKEN = np.uint64(1 << 21)  # above every code point: "ab c" is not "a bc"


class Spans(NamedTuple):
    """The shingles of D texts, those of a text one after the other, of each text at least one.

    `hashes_S` are uint64, not yet mixed; those of text d are `hashes_S[starts[d]:starts[d + 1]]`.
    """

    hashes_S: np.ndarray
    starts: np.ndarray


def spans(texts: Sequence[str], words: int = WORDS, characters: int = CHARACTERS) -> Spans:
    """The shingles of one text or more, of so many words or characters, as often as each occurs.

    Texts without a letter or a digit have one that is the same for all of them.
    """
    points_C = _points(texts)
    kinds_C = _kinds()[points_C]
    # A word is one token, a character of an unspaced script another.
    begins_C = (kinds_C == 2) | ((kinds_C == 1) & np.append(True, kinds_C[:-1] != 1))
    kept = np.flatnonzero(kinds_C)
    points_K = points_C[kept].astype(np.uint64) + _STARTS_A_TOKEN * begins_C[kept]
    begins_T = np.flatnonzero(begins_C[kept])
    owners_T = np.cumsum(points_C == 0)[kept[begins_T]]
    sizes_T = np.where(kinds_C[kept[begins_T]] == 2, characters, words)

    tokens = np.bincount(owners_T, minlength=len(texts))
    ends = np.cumsum(tokens)
    first_T = np.append(True, owners_T[1:] != owners_T[:-1]) if len(owners_T) else owners_T > 0
    stops_T = np.arange(len(begins_T)) + sizes_T
    whole_T = stops_T <= ends[owners_T]
    starts_S = np.flatnonzero(whole_T | first_T)
    stops_S = np.minimum(stops_T, ends[owners_T])[starts_S]

    edges = np.append(begins_T, len(points_K))
    hashes_S = _differences(points_K, edges[starts_S], edges[stops_S])
    counts = np.bincount(owners_T[starts_S], minlength=len(texts))
    return _with_the_empty(hashes_S, counts)


def _points(texts: Sequence[str]) -> np.ndarray:
    # What cannot be encoded, a lone surrogate, is a mark like any other.
    joined = "".join(normalised(text).replace(_END, " ") + _END for text in texts)
    return np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)


@cache
def _kinds() -> np.ndarray:
    """For each code point: 0 divides, 1 is of a word, 2 stands for itself."""
    table = np.zeros(0x110000, np.uint8)
    for point in range(len(table)):
        table[point] = unicodedata.category(chr(point))[0] in "LMN"
    for low, high in UNSPACED:
        table[low : high + 1] *= 2
    return table


def _differences(points_K: np.ndarray, begins_S: np.ndarray, ends_S: np.ndarray) -> np.ndarray:
    """Σ points[begin + i] · base^i for each shingle, modulo 2^64."""
    length = 1 << len(points_K).bit_length()
    sums = np.append(np.uint64(0), np.cumsum(points_K * _powers(_BASE, length)[: len(points_K)]))
    hashes_S: np.ndarray = (sums[ends_S] - sums[begins_S]) * _powers(_INVERSE, length)[begins_S]
    return hashes_S


@lru_cache(maxsize=4)
def _powers(base: np.uint64, count: int) -> np.ndarray:
    powers: np.ndarray = np.cumprod(np.append(np.uint64(1), np.full(count - 1, base)))
    return powers


def _with_the_empty(hashes_S: np.ndarray, counts_D: np.ndarray) -> Spans:
    empty = np.flatnonzero(counts_D == 0)
    places = np.cumsum(counts_D)[empty]
    starts = np.append(0, np.cumsum(np.maximum(counts_D, 1)))
    return Spans(np.insert(hashes_S, places, np.uint64(0)), starts)
