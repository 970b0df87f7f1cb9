"""What is known of a person from the record's own fields: found again however it is written in the text.

A name is found in another order, with initials in place of given names, in other capitals, without its
accents, and with one letter wrong.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from fedward_client.preparation.identifiers.names import LETTER
from fedward_client.preparation.identifiers.patterns import plain
from fedward_client.preparation.identifiers.spans import Found, Kind
from fedward_client.preparation.identifiers.vocabulary import is_no_name

WORD = re.compile(rf"{LETTER}{{1,40}}")
TYPO = 5
"""From this length on a word with one letter wrong is taken for the name."""
SHORTEST = 3
SEPARATORS = re.compile(r"[\^=&,;|\s]{1,10}")
RECOGNISER = "known"


def folded(word: str) -> str:
    """Without case and accents; ß is ss."""
    parts = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))


@dataclass(frozen=True)
class Known:
    """Names as FHIR, HL7 v2 (PID-5) and DICOM (PN) write them, and other values, each of a kind."""

    names: tuple[str, ...] = ()
    values: tuple[tuple[Kind, str], ...] = ()

    def find(self, text: str) -> Iterator[Found]:
        """All of them in `text`, which is `plain`."""
        yield from self._find_names(text)
        yield from self._find_values(text)

    @cached_property
    def _tokens(self) -> frozenset[str]:
        parts = (part for name in self.names for part in SEPARATORS.split(plain(name)))
        words = (folded(word) for part in parts for word in WORD.findall(part))
        return frozenset(word for word in words if len(word) > 1)

    def _find_names(self, text: str) -> Iterator[Found]:
        """Runs of words of the name. One by itself counts if it is capitalised and three letters long."""
        run: list[re.Match[str]] = []
        for match in WORD.finditer(text):
            if run and not _adjacent(text, run[-1].end(), match.start()):
                yield from self._run(run)
                run = []
            if self._is_known(match[0]) or self._is_initial(match[0]):
                run.append(match)
            else:
                yield from self._run(run)
                run = []
        yield from self._run(run)
        for name in self.names:
            whole = "".join(SEPARATORS.split(plain(name)))
            if whole and "一" <= whole[0] <= "鿿":
                for found in re.finditer(re.escape(whole), text):
                    yield Found(found.start(), found.end(), Kind.NAME, f"{RECOGNISER} name")

    def _run(self, run: list[re.Match[str]]) -> Iterator[Found]:
        whole = [match for match in run if self._is_known(match[0])]
        if not whole:
            return
        alone = whole[0][0]
        capital = len(alone) >= SHORTEST and alone[0].isupper()
        if len(run) > 1 or (
            capital and not (is_no_name(alone) and folded(alone) not in self._tokens)
        ):
            yield Found(run[0].start(), run[-1].end(), Kind.NAME, f"{RECOGNISER} name")

    def _is_known(self, word: str) -> bool:
        key = folded(word)
        if key in self._tokens:
            return True
        if len(key) < TYPO or is_no_name(word):
            return False
        return any(len(token) >= TYPO and one_apart(key, token) for token in self._tokens)

    def _is_initial(self, word: str) -> bool:
        return len(word) == 1 and word.isupper() and any(t[0] == word.lower() for t in self._tokens)

    def _find_values(self, text: str) -> Iterator[Found]:
        for kind, value in self.values:
            characters = [c for c in plain(value) if c.isalnum()]
            if len(characters) < SHORTEST:
                continue
            between = r"[ .,/-]{0,2}" if len(characters) < 200 else ""
            regex = between.join(re.escape(c) for c in characters)
            for match in re.finditer(rf"(?<![A-Za-z0-9])(?i:{regex})(?![A-Za-z0-9])", text):
                yield Found(match.start(), match.end(), kind, f"{RECOGNISER} {kind}")


NOBODY = Known()


def of(names: Iterable[str] = (), **values: str) -> Known:
    """What is known, by the name of its kind: `of(["Doe^Jane"], record="00123")`."""
    return Known(tuple(names), tuple((Kind(kind), value) for kind, value in values.items()))


def one_apart(one: str, other: str) -> bool:
    """Whether a letter more, less, another, or two neighbours exchanged make one of the other."""
    if abs(len(one) - len(other)) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if at is None:
        return True
    rests = (
        (one[at + 1 :], other[at + 1 :]),
        (one[at + 1 :], other[at:]),
        (one[at:], other[at + 1 :]),
        (one[at : at + 2][::-1] + one[at + 2 :], other[at:]),
    )
    return any(a == b for a, b in rests)


def _adjacent(text: str, end: int, start: int) -> bool:
    return text[end:start] in (" ", ", ", ". ", ".", "-", "'", "  ", ".-", ",", "\t")
