"""Which documents are not trained on, and why: the same code tells as at the sites.

**Near-duplicates** (`fedward_shared.text.duplicates`): a public corpus is one unit, so of documents that
are alike the first stays, whatever sources they are of.
**Contamination**: a document that has a passage of `WORDS` words in common with an evaluation set is
left out (Brown et al. 2020, appendix C, look for as many); of `CHARACTERS` characters where a script has
no spaces. A text of an evaluation set that is shorter is only found where it is all of a document.
**Quality** (`fedward_shared.text.quality`): optional, because each text goes through an encoder.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fedward_shared.terms import Terms
from fedward_shared.text import shingles

WORDS = 13
CHARACTERS = 23
"""About as much text: a Chinese word of the People's Daily has 1.75 characters on average."""

NEAR_DUPLICATE, LOW_QUALITY = "near-duplicate", "low quality"


class FilterTerms(Terms):
    """What is left out of the sources that are trained on.

    `duplicates` is the Jaccard similarity from which on documents are alike; none: all stay.
    `contamination` leaves out what has passages of sources that are there for evaluation. `quality` is
    the folder of the encoder under the head that tells the quality of texts, `head` another head than
    the one that comes with fedward, and texts below `cut` are left out.
    """

    duplicates: Annotated[float, Field(ge=0.5, le=1)] | None = 0.85
    contamination: bool = True
    quality: Path | None = None
    head: Path | None = None
    cut: Annotated[float, Field(gt=0, lt=1)] = 0.7


class Passages:
    """Passages of evaluation sets; 16 bytes for each."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._hashes_P = np.empty(0, np.uint64)
        self._sets_P = np.empty(0, np.int64)

    def add(self, name: str, parts: Iterable[Sequence[str]]) -> None:
        """Those of another evaluation set, whose texts come in parts, none of them empty."""
        found = [np.unique(_spans(part).hashes_S) for part in parts]
        hashes_P = np.unique(np.concatenate([self._hashes_P[:0], *found]))
        hashes_P = hashes_P[hashes_P != 0]  # of texts without a letter
        joined_P = np.concatenate([self._hashes_P, hashes_P])
        sets_P = np.append(self._sets_P, np.full(len(hashes_P), len(self._names)))
        self._hashes_P, first_P = np.unique(joined_P, return_index=True)
        self._sets_P = sets_P[first_P]
        self._names.append(name)

    def found(self, texts: Sequence[str]) -> list[str | None]:
        """For each text the evaluation set that it has a passage of; the first passage decides."""
        names: list[str | None] = [None] * len(texts)
        if not texts or not len(self._hashes_P):
            return names
        hashes_S, starts = _spans(texts)
        places_S = np.searchsorted(self._hashes_P, hashes_S)
        places_S = np.minimum(places_S, len(self._hashes_P) - 1)
        hits = np.flatnonzero(self._hashes_P[places_S] == hashes_S)
        for hit, text in zip(
            hits[::-1], np.searchsorted(starts, hits, "right")[::-1] - 1, strict=True
        ):
            names[text] = self._names[self._sets_P[places_S[hit]]]
        return names


class Filters:
    """Why a document is left out, by its own text alone.

    Raises ModelError for an encoder that is not the one of the head.
    """

    def __init__(self, terms: FilterTerms, passages: Passages) -> None:
        self._terms, self._passages = terms, passages
        self._scorer = None if terms.quality is None else _scorer(terms.quality, terms.head)

    @property
    def inputs(self) -> dict[str, Any]:
        """What decides the reasons, beside the evaluation sets, as JSON."""
        scorer = self._scorer
        return {
            "contamination": [WORDS, CHARACTERS] if self._terms.contamination else None,
            "quality": None
            if scorer is None
            else {
                "model": scorer.encoder.digest,
                "head": scorer.head.digest,
                "cut": repr(self._terms.cut),
            },
        }

    def reasons(self, texts: Sequence[str]) -> Iterator[str | None]:
        """Why each text is left out, None for those that stay."""
        sets = self._passages.found(texts) if self._terms.contamination else [None] * len(texts)
        for text, name in zip(texts, sets, strict=True):
            if name is not None:
                yield f"in evaluation set {name}"
            elif self._scorer is not None and self._scorer.score([text])[0] < self._terms.cut:
                yield LOW_QUALITY
            else:
                yield None


def _spans(texts: Sequence[str]) -> shingles.Spans:
    return shingles.spans(texts, WORDS, CHARACTERS)


def _scorer(folder: Path, head: Path | None) -> Any:
    from fedward_shared.text.quality import Head, Scorer

    return Scorer(folder, Head.load(head))
