"""The notes of a ward, with what is planted among them: near-duplicates, damage, identifiers."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np

from fedward_shared.text import shingles
from fedward_shared.text.jaccard import jaccard
from fedward_simulations.data import damage, foreign, planted, prose
from fedward_simulations.data.planted_templates import HELD_OUT
from fedward_simulations.raw import people
from fedward_simulations.raw.items import Item, Patient, storable

PARAGRAPHS = 200
"""Of prose, beside all leaflets and lists of medicines."""

OTHER_LANGUAGES, NEAR, DAMAGED, IDENTIFIED = 0.06, 0.08, 0.08, 0.1
"""The shares of notes in other languages, with a near-duplicate, damaged, and with identifiers."""

ALIKE = 0.85
LONG = 50
"""Words of a note that stays a near-duplicate with one of them changed."""

KINDS = ("Progress note", "Discharge summary", "Consult", "Nurse note", "Radiology report")


@cache
def pool() -> tuple[str, ...]:
    """Paragraphs of which notes are put together. Raises MissingExtra."""
    found = [text.text for text in prose.leaflets()]
    found += [text.text for text in islice(prose.paragraphs(), PARAGRAPHS)]
    return tuple(storable(text) for text in dict.fromkeys(found))


def notes(
    draw: random.Random, patients: Sequence[Patient], count: int, pieces: Sequence[str]
) -> list[Item]:
    """About `count` notes, their near-duplicates among them, in a random order."""
    identified = _identified(draw, patients, int(IDENTIFIED * count))
    near = int(NEAR * count)
    plain = [
        Item(
            f"note {number}",
            draw.choice(patients),
            people.day(draw),
            _text(draw, pieces),
            draw.choice(KINDS),
        )
        for number in range(max(1, count - len(identified) - near))
    ]
    long = [one for one in plain if len(one.text.split(" ")) >= LONG]
    chosen = draw.sample(long, min(near, len(long) // 2))
    copies = [_like(draw, one, patients, at % 2 == 0) for at, one in enumerate(chosen)]
    originals = {copy.planted["like"] for copy in copies}
    found = [
        one if one.name in originals or draw.random() >= DAMAGED else _damaged(draw, one)
        for one in plain
    ]
    found += copies + identified
    draw.shuffle(found)
    return found


def _text(draw: random.Random, pieces: Sequence[str]) -> str:
    if draw.random() < OTHER_LANGUAGES:
        languages = {**foreign.SENTENCES, "zh": foreign.CHINESE}
        sentences = languages[draw.choice(sorted(languages))]
        return storable("\n".join(draw.sample(sentences, min(6, len(sentences)))))
    return "\n".join(draw.sample(pieces, draw.randint(4, 7)))


def _like(draw: random.Random, one: Item, patients: Sequence[Patient], within: bool) -> Item:
    """`one` again with a word changed, of the same patient or of another, on another day."""
    others = [patient for patient in patients if patient != one.patient]
    within = within or not others
    text = _changed(draw, one.text)
    said = {"like": one.name, "within": within, "similarity": f"{similarity(one.text, text):.4f}"}
    return replace(
        one,
        name=f"{one.name}, again",
        patient=one.patient if within else draw.choice(others),
        day=people.day(draw),
        text=text,
        planted=said,
    )


def _changed(draw: random.Random, text: str) -> str:
    """With another word in one place, such that it stays a near-duplicate."""
    words = text.split(" ")
    for at in draw.sample(range(len(words)), len(words)):
        other = " ".join(
            [*words[:at], draw.choice(("unchanged", "today", "again")), *words[at + 1 :]]
        )
        if ALIKE <= similarity(text, other) < 1:
            return other
    raise ValueError(f"no word of {text[:40]!r} can be changed: it is too short")


def similarity(one: str, other: str) -> float:
    """The Jaccard similarity of two texts, as it is told at a site."""
    sets = [np.unique(shingles.spans([text]).hashes_S) for text in (one, other)]
    return jaccard(*sets)


def _damaged(draw: random.Random, one: Item) -> Item:
    kind = draw.choice(sorted(damage.KINDS))
    generator = np.random.default_rng(draw.getrandbits(32))
    text = storable(damage.KINDS[kind](one.text, generator))
    if not text or text == one.text:
        return one
    return replace(one, text=text, planted={"damage": kind})


def _identified(draw: random.Random, patients: Sequence[Patient], count: int) -> list[Item]:
    """Notes with identifiers whose places are known, all of templates that no rule was written with."""
    copies = -(-count // len(HELD_OUT))
    texts = list(planted.texts(held_out=True, copies=copies, seed=draw.getrandbits(32)))
    found = []
    for number, text in enumerate(draw.sample(texts, count)):
        spans = [[str(one.kind), one.start, one.end] for one in text.planted]
        item = Item(
            f"letter {number}",
            draw.choice(patients),
            people.day(draw),
            text.text,
            "Letter",
            planted={"identifiers": spans, "patient": list(text.patient)},
        )
        found.append(item)
    return found
