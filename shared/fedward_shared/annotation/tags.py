"""Entities as tags of tokens and back: BIO, and BILOU, which marks last and single tokens too.

Ramshaw and Marcus 1995, "Text Chunking using Transformation-Based Learning"; Ratinov and Roth 2009,
"Design Challenges and Misconceptions in Named Entity Recognition".
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from fedward_shared.annotation.boundaries import Span
from fedward_shared.annotation.kinds import Scheme
from fedward_shared.errors import DataError

Marked = tuple[int, int, str]
"""Start, end and label; of code points or of tokens."""

OUTSIDE = "O"


def on_tokens(marked: Sequence[Marked], tokens: Sequence[Span]) -> list[Marked]:
    """The same in tokens: an entity gets all tokens that it overlaps; one without any is left out.

    `tokens` are in order and do not overlap; those of no length belong to nobody.
    """
    real = [i for i, (a, b) in enumerate(tokens) if a < b]
    starts, ends = [tokens[i][0] for i in real], [tokens[i][1] for i in real]
    found = []
    for start, end, label in marked:
        first, last = bisect_right(ends, start), bisect_left(starts, end) - 1
        if first <= last:
            found.append((real[first], real[last] + 1, label))
    return found


def in_text(marked: Sequence[Marked], tokens: Sequence[Span]) -> list[Marked]:
    """Entities given in tokens, in code points."""
    return [(tokens[start][0], tokens[end - 1][1], label) for start, end, label in marked]


def encode(marked: Sequence[Marked], count: int, scheme: Scheme = "bio") -> list[str]:
    """The tag of each of `count` tokens. Raises DataError for entities that overlap."""
    tags = [OUTSIDE] * count
    for start, end, label in marked:
        if any(tag != OUTSIDE for tag in tags[start:end]):
            raise DataError(
                f"two entities share the token {start} or one after it ({label!r} is one of them); tags "
                "hold one label a token"
            )
        tags[start:end] = [f"I-{label}"] * (end - start)
        tags[start] = f"B-{label}"
        if scheme == "bilou":
            tags[end - 1] = f"{'U' if end == start + 1 else 'L'}-{label}"
    return tags


def decode(tags: Sequence[str]) -> list[Marked]:
    """The entities that `tags` stand for, in tokens, in either scheme.

    What a model says need not be well-formed: an entity begins with B or U, or where a tag goes on with
    what has not begun; it ends before O and another label, and after L or U.
    """
    found: list[Marked] = []
    start, inside = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        kind, _, label = tag.partition("-")
        if inside and (kind in ("B", "U", OUTSIDE) or label != inside):
            found.append((start, place, inside))
            inside = ""
        if kind != OUTSIDE and not inside:
            start, inside = place, label
        if kind in ("L", "U"):
            found.append((start, place + 1, inside))
            inside = ""
    return found
