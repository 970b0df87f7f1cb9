"""What can be read off a text without a model: shares of its characters and words."""

import re
import unicodedata
import zlib

import numpy as np

FEATURES = (
    "length",
    "letters",
    "digits",
    "symbols",
    "capitals",
    "spaces",
    "not_ascii",
    "latin_1",
    "compression",
    "distinct_words",
    "word_length",
    "long_words",
    "no_vowel",
    "digit_in_word",
    "case_in_word",
    "tags",
    "pieces_per_word",
    "closed",
)
"""The features' names, in their order: shares in [0, 1], or numbers of that size."""

END = re.compile(r"[.!?:;)\]\"'”。！？]\s*$")
TAG = re.compile(r"</?\w[^<>]*>|&#?\w+;|\\[a-z]+\b|\{\{|\}\}|\*\*|__|\[[^\]]*\]\(")
WORD = re.compile(r"\w+")
MIXED = re.compile(r"[a-z][A-Z]")
LONG_WORD = 15


def features(text: str, pieces: int) -> np.ndarray:
    """The `FEATURES` of a text that the tokenizer cuts into `pieces`, [F] in float32.

    A text without characters or words has zeros in their places.
    """
    count = max(1, len(text))
    words = WORD.findall(text)
    many = max(1, len(words))
    packed = text.encode("utf-8", "replace")
    letters = [c for c in text if c.isalpha()]
    values = {
        "length": np.log1p(len(text)) / 6,
        "letters": len(letters) / count,
        "digits": sum(c.isdigit() for c in text) / count,
        "symbols": sum(not c.isalnum() and not c.isspace() for c in text) / count,
        "capitals": sum(c.isupper() for c in letters) / max(1, len(letters)),
        "spaces": sum(c.isspace() for c in text) / count,
        "not_ascii": sum(ord(c) > 127 for c in text) / count,
        "latin_1": sum(_misread(c) for c in text) / count,
        "compression": len(zlib.compress(packed, 6)) / max(1, len(packed)),
        "distinct_words": len({word.casefold() for word in words}) / many,
        "word_length": sum(map(len, words)) / many / 10,
        "long_words": sum(len(word) > LONG_WORD for word in words) / many,
        "no_vowel": sum(_no_vowel(word) for word in words) / many,
        "digit_in_word": sum(_digit_within(word) for word in words) / many,
        "case_in_word": sum(bool(MIXED.search(word)) for word in words) / many,
        "tags": len(TAG.findall(text)) / many,
        "pieces_per_word": pieces / many / 4,
        "closed": float(END.search(text) is not None),
    }
    return np.array([min(values[name], 2.0) for name in FEATURES], dtype=np.float32)


def _misread(character: str) -> bool:
    """What UTF-8 becomes where it is read as Latin-1, and what stands for bytes that nobody read."""
    return "\x80" <= character <= "ÿ" or unicodedata.category(character) in ("Cc", "So")


def _no_vowel(word: str) -> bool:
    return (
        len(word) > 3
        and word.isascii()
        and word.isalpha()
        and not set("aeiouy") & set(word.lower())
    )


def _digit_within(word: str) -> bool:
    return any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
