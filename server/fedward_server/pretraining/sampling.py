"""A sample of a corpus of any size to learn a vocabulary from, in which no language is starved.

A language with the part p of the corpus gets the part p^a of the sample, over the sum of these
(Conneau and Lample 2019, section 3.1); one that has less text than that is repeated.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from itertools import cycle

Text = tuple[str, str]
"""(text, language)."""


class _Drawn:
    """Of a language's texts those with the smallest keys, at least `characters` of them if it has so
    many; a key is a hash of the seed and the text's number."""

    def __init__(self, characters: int) -> None:
        self._wanted = characters
        self._heap: list[tuple[int, int, str]] = []
        self._kept = 0
        self.all = 0

    def add(self, key: int, number: int, text: str) -> None:
        self.all += len(text)
        heapq.heappush(self._heap, (-key, number, text))
        self._kept += len(text)
        while self._kept - len(self._heap[0][2]) >= self._wanted:
            self._kept -= len(heapq.heappop(self._heap)[2])

    def take(self, characters: int) -> Iterator[str]:
        """So many characters, the smallest key first, from the beginning again at the end."""
        for _, _, text in cycle(sorted(self._heap, reverse=True)):
            if characters <= 0:
                return
            yield text[:characters]
            characters -= len(text)


def sample(texts: Iterable[Text], characters: int, smoothing: float, seed: int) -> Iterator[Text]:
    """`characters` of `texts`, or as many as there are; by `seed` and each text's number alone.

    Reads the stream once and keeps at most `characters` of each language, and a text more.
    """
    drawn: dict[str, _Drawn] = {}
    for number, (text, language) in enumerate(texts):
        if text:
            drawn.setdefault(language, _Drawn(characters)).add(_key(seed, number), number, text)
    total = sum(each.all for each in drawn.values())
    parts = {language: (each.all / total) ** smoothing for language, each in drawn.items()}
    whole = min(characters, total)
    for language in sorted(drawn):
        quota = round(whole * parts[language] / sum(parts.values()))
        for text in drawn[language].take(quota):
            yield text, language


def _key(seed: int, number: int) -> int:
    data = f"{seed} {number}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())
