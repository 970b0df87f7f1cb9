"""Texts that bring two languages together: parallel text as one document, and words switched.

Pure functions of a seed and a document's number: in which order documents are read, and by how many
workers, changes none of them. A document is segments of (text, language); a tag is put before each
where it becomes tokens, so that no text can spell one.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from fedward_server.pretraining.corpus.sources import Language, Segment
from fedward_shared.annotation.boundaries import segments
from fedward_shared.errors import DataError
from fedward_shared.terms import Terms

Lexicon = Mapping[str, tuple[str, ...]]
"""Translations of a word, by the word in small letters."""


class CodeSwitching(Terms):
    """One of `[[augmentation]]`: words of the texts in a language are switched to another one.

    `lexicon`: a TSV or JSONL of pairs. `share`: with which probability a word that is in the lexicon
    becomes one of its translations. `language`: that of the lexicon's first words, and of the texts.
    """

    lexicon: Path
    language: Language
    share: Annotated[float, Field(gt=0, le=1)] = 0.2


def parallel(
    source: Segment, target: Segment, *, seed: int, number: int
) -> tuple[Segment, Segment]:
    """A pair of translations as one document, either first with the same probability.

    Where a model sees both at once, it can look up in one what is masked in the other (translation
    language modelling, Conneau and Lample 2019, section 3.3).
    """
    swapped = _generator(seed, number).random() < 0.5
    return (target, source) if swapped else (source, target)


def switched(
    text: str, language: str, lexicon: Lexicon, *, share: float, seed: int, number: int
) -> str:
    """The text with a `share` of those of its words that the lexicon has, translated.

    Everything between words stays (multilingual code-switching: Qin et al. 2020, "CoSDA-ML"). Raises
    MissingExtra for a Chinese text without jieba.
    """
    spans = segments(text, "jieba" if language == "zh" else "unicode")
    # Each place has draws of its own: a lexicon with more words moves no other word's.
    draws = _generator(seed, number).random((len(spans), 2))
    parts = []
    for (begin, end), (chance, which) in zip(spans, draws, strict=True):
        word = text[begin:end]
        found = lexicon.get(word.casefold())
        if found and chance < share:
            word = found[int(which * len(found))]
        parts.append(word)
    return "".join(parts)


def read_lexicon(path: Path) -> dict[str, tuple[str, ...]]:
    """A lexicon of a TSV of (word, translation), or of JSONL with lists or objects of two such.

    A word may have many translations, in the order of the file. Raises DataError, which names the
    line, for whatever is no pair of words, and for a file without one.
    """
    found: dict[str, dict[str, None]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = _json(file) if path.suffix in (".jsonl", ".ndjson") else _tabs(file)
            for line, row in rows:
                if len(row) != 2 or not all(isinstance(w, str) and w.strip() for w in row):
                    raise DataError(
                        f"{path}, line {line}: expected two words, a word and another's"
                    )
                word, translation = (w.strip() for w in row)
                found.setdefault(word.casefold(), {})[translation] = None
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: the lexicon cannot be read: {error}") from error
    if not found:
        raise DataError(f"{path}: the lexicon has no pair of words")
    return {word: tuple(translations) for word, translations in found.items()}


def _tabs(file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return ((reader.line_num, row) for row in reader if row)


def _json(file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            row = json.loads(line)
            values = row.values() if isinstance(row, dict) else row
            yield number, list(values) if isinstance(row, (dict, list)) else []


def _generator(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, number]))
