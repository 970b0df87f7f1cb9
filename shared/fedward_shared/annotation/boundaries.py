"""Where characters and words of a text end.

`unicode` are the word boundaries of Unicode Standard Annex #29. To these, every Chinese character is a
word of its own; `jieba` segments Chinese by a dictionary and a hidden Markov model (jieba-rs).
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import regex

from fedward_shared.annotation.kinds import Segmentation
from fedward_shared.errors import MissingExtra

Span = tuple[int, int]


@dataclass(frozen=True)
class Boundaries:
    """Offsets between two grapheme clusters, and between two words; both with 0 and the text's end."""

    graphemes: frozenset[int]
    words: frozenset[int]

    @staticmethod
    def of(text: str, segmentation: Segmentation) -> "Boundaries":
        """Those of `text`. Raises MissingExtra if what segments it is not installed."""
        graphemes = frozenset([0, *(match.end() for match in regex.finditer(r"\X", text))])
        ends = [0, *(end for _, end in segments(text, segmentation))]
        return Boundaries(graphemes, graphemes & frozenset(ends))

    def nearest(self, text: str, span: Span) -> Span | None:
        """The span that begins and ends with words and no white space, and is nearest to `span`; of two
        that are as near, the shorter. None if nothing is left of it."""
        start = min(self._around(span[0]), key=lambda place: (abs(place - span[0]), -place))
        end = min(self._around(span[1]), key=lambda place: (abs(place - span[1]), place))
        inner = text[start:end]
        start, end = end - len(inner.lstrip()), start + len(inner.rstrip())
        return (start, end) if start < end else None

    @cached_property
    def _ordered(self) -> list[int]:
        return sorted(self.words)

    def _around(self, offset: int) -> list[int]:
        """The boundary at or after `offset`, and the one before it."""
        place = bisect_left(self._ordered, offset)
        return self._ordered[max(0, place - 1) : place + 1]


def segments(text: str, segmentation: Segmentation) -> list[Span]:
    """The words of `text`, white space and punctuation among them: together they are all of it."""
    if segmentation == "jieba":
        return _jieba(text)
    ends = sorted({match.start() for match in regex.finditer(r"(?w)\b", text)} | {len(text)})
    return [(a, b) for a, b in zip([0, *ends], ends, strict=False) if a < b]


def words(text: str, segmentation: Segmentation) -> list[Span]:
    """The segments that are not white space."""
    return [(a, b) for a, b in segments(text, segmentation) if not text[a:b].isspace()]


def _jieba(text: str) -> list[Span]:
    try:
        import rjieba
    except ImportError as error:
        raise MissingExtra(
            'words = "jieba": rjieba is not installed: pip install "fedward-shared[chinese]"'
        ) from error
    spans, start = [], 0
    for word in rjieba.cut(text):
        spans.append((start, start + len(word)))
        start += len(word)
    return spans
