"""Rules that are one regular expression, and what all of them are written with.

Every quantifier has an upper bound, so that a match costs a bounded number of steps wherever it is tried
and a text time in proportion to its length. A test reads all of them for that.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedward_client.preparation.identifiers.spans import Found, Kind

START = r"(?<![A-Za-zÀ-ÿ0-9])"
END = r"(?![A-Za-zÀ-ÿ0-9])"
"""Not `\\b`: Chinese characters count as letters there, and stand beside digits without a space."""
HAN = "一-鿿"

_ALIKE = {0xFF01 + i: 0x21 + i for i in range(94)}  # full-width forms
_ALIKE |= {ord(c): ord(" ") for c in "\u00a0\u1680\u2007\u2009\u200a\u202f\u205f\u3000"}
_ALIKE |= {ord(c): ord("-") for c in "‐‑‒–—―−"}
_ALIKE |= {ord(c): ord("'") for c in "‘’ʼ"}
_ALIKE |= {zero + d: ord("0") + d for zero in (0x660, 0x6F0) for d in range(10)}


def plain(text: str) -> str:
    """The text that rules read, character by character: one form of digits, spaces, hyphens."""
    return text.translate(_ALIKE)


@dataclass(frozen=True)
class Pattern:
    """What `regex` matches and `check` lets pass is of `kind`; its group `value` alone, if it has one."""

    kind: Kind
    name: str
    regex: re.Pattern[str]
    check: Callable[[re.Match[str]], bool] | None = None

    def find(self, text: str) -> Iterator[Found]:
        """All in `text`, which is `plain`."""
        group = "value" if "value" in self.regex.groupindex else 0
        for match in self.regex.finditer(text):
            if self.check is None or self.check(match):
                yield Found(match.start(group), match.end(group), self.kind, self.name)


def pattern(
    kind: Kind, name: str, regex: str, check: Callable[[str], bool] | None = None
) -> Pattern:
    """A rule between word boundaries; `check` gets the matched text."""
    compiled = re.compile(f"{START}(?:{regex}){END}")
    return Pattern(kind, name, compiled, None if check is None else lambda m: check(m[0]))
