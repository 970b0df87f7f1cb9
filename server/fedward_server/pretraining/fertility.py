"""Into how many tokens a tokenizer cuts each language: what a context holds, and what a text costs."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from fedward_server.pretraining.sampling import Text
from fedward_shared.annotation.boundaries import words
from fedward_shared.annotation.kinds import Segmentation

if TYPE_CHECKING:
    from rich.table import Table

AT_ONCE = 256


@dataclass(frozen=True)
class Fertility:
    """Counts over the texts of one language, special tokens left out."""

    language: str
    texts: int
    words: int
    characters: int
    bytes: int
    tokens: int
    unknown: int

    @property
    def tokens_per_word(self) -> float:
        """A word is what `fedward_shared.annotation.boundaries` says and has a letter or digit."""
        return self.tokens / max(1, self.words)

    @property
    def tokens_per_character(self) -> float:
        """The figure for scripts without spaces, where words are a matter of opinion."""
        return self.tokens / max(1, self.characters)

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes that one token stands for: the compression."""
        return self.bytes / max(1, self.tokens)

    @property
    def unknown_share(self) -> float:
        return self.unknown / max(1, self.tokens)


def measure(tokenizer: Any, texts: Iterable[Text]) -> tuple[Fertility, ...]:
    """One for each language of the (text, language), in the order of the alphabet.

    Chinese words are jieba's. Raises MissingExtra for Chinese without it.
    """
    sums: dict[str, list[int]] = {}
    stream = iter(texts)
    while some := list(islice(stream, AT_ONCE)):
        ids = tokenizer([text for text, _ in some], add_special_tokens=False)["input_ids"]
        for (text, language), numbers in zip(some, ids, strict=True):
            counts = (
                1,
                _count_words(text, "jieba" if language == "zh" else "unicode"),
                len(text),
                len(text.encode("utf-8", "surrogatepass")),
                len(numbers),
                sum(number == tokenizer.unk_token_id for number in numbers),
            )
            before = sums.get(language, [0] * len(counts))
            sums[language] = [a + b for a, b in zip(before, counts, strict=True)]
    return tuple(Fertility(language, *sums[language]) for language in sorted(sums))


def _count_words(text: str, segmentation: Segmentation) -> int:
    return sum(any(c.isalnum() for c in text[a:b]) for a, b in words(text, segmentation))


def table(measured: Iterable[tuple[str, Iterable[Fertility]]]) -> "Table":
    """A row for each language under each tokenizer: [("before", ...), ("after", ...)]."""
    from rich.table import Table

    found = Table(box=None, padding=(0, 2, 0, 0))
    found.add_column("language")
    found.add_column("tokenizer")
    for name in ("tokens/word", "tokens/character", "bytes/token", "unknown"):
        found.add_column(name, justify="right")
    rows = [(each.language, name, each) for name, all_ in measured for each in all_]
    for language, name, each in sorted(rows, key=lambda row: row[0]):
        found.add_row(
            language,
            name,
            f"{each.tokens_per_word:.2f}",
            f"{each.tokens_per_character:.2f}",
            f"{each.bytes_per_token:.2f}",
            f"{each.unknown_share:.2%}",
        )
    return found
