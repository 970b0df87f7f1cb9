"""Identifiers found in invented clinical texts, beside Presidio's recognisers without a model.

The texts are the held-out half of `data.planted`. An identifier is found if all of its letters and
digits are covered, by whatever rule. Less is better here: the rates are of identifiers that stay (1 -
recall), and of finds in which there is none (1 - precision).
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch

from fedward_client.preparation.identifiers import known, scrub
from fedward_client.preparation.identifiers.spans import Found, Kind
from fedward_client.preparation.identifiers.tagger import Tagger
from fedward_shared.errors import MissingExtra
from fedward_simulations.bench.rows import Row
from fedward_simulations.data import base_models, notes, planted
from fedward_simulations.data.planted import Score, Text

COPIES, SEED = 40, 7
NOTES = 200
STRUCTURED, NAMES = 0.02, 0.1
"""How many may stay: goals."""
PEER = "Presidio, without a model"
RULES = "rules alone"
LANGUAGES = {"en": "English", "de": "German", "zh": "Chinese"}
KINDS = {
    "PERSON": Kind.NAME,
    "DATE_TIME": Kind.DATE,
    "PHONE_NUMBER": Kind.PHONE,
    "EMAIL_ADDRESS": Kind.EMAIL,
    "URL": Kind.URL,
    "IP_ADDRESS": Kind.IP,
    "IBAN_CODE": Kind.ACCOUNT,
    "CREDIT_CARD": Kind.ACCOUNT,
    "US_BANK_NUMBER": Kind.ACCOUNT,
    "US_SSN": Kind.NATIONAL,
    "US_ITIN": Kind.NATIONAL,
    "US_PASSPORT": Kind.NATIONAL,
    "UK_NHS": Kind.NATIONAL,
    "US_DRIVER_LICENSE": Kind.LICENCE,
    "MEDICAL_LICENSE": Kind.LICENCE,
    "MAC_ADDRESS": Kind.DEVICE,
}
Finder = Callable[[Text], Iterable[Found]]


def run(folder: Path) -> list[Row]:
    """Rows for each kind, for names by language, for clinical text that is lost, and for speed.

    Raises MissingExtra.
    """
    del folder
    torch.set_num_threads(1)
    more = Tagger(base_models.minilm()).find
    more("Anna Schmidt")  # loads the model, which is not to be timed
    texts = list(planted.texts(held_out=True, copies=COPIES, seed=SEED))
    finders: dict[str, Finder] = {
        "ours": lambda text: scrub.find(text.text, more=more),
        "rules": lambda text: scrub.find(text.text),
        "known": lambda text: scrub.find(text.text, known.of(text.patient), more=more),
        "known, rules": lambda text: scrub.find(text.text, known.of(text.patient)),
        "peer": presidio(),
    }
    scores = {name: _scores(texts, finder) for name, finder in finders.items()}
    ours, peer = scores["ours"].total, scores["peer"].total
    characters = sum(len(text.text) for text in texts)
    lost, lost_by_rules = _lost_of_notes(more), _lost_of_notes(None)
    return [
        *_rows(ours, peer),
        *_of_names(scores["ours"], scores["rules"]),
        _stay("name, the patient's known from the record", scores["known"].total, Kind.NAME, NAMES),
        Row(
            "name, the patient's known from the record: stay",
            _stays(scores["known"].total, Kind.NAME),
            _stays(scores["known, rules"].total, Kind.NAME),
            RULES,
            "%",
        ),
        Row(
            "clinical text that is lost",
            100 * ours.lost / ours.letters,
            100 * peer.lost / peer.letters or None,
            PEER,
            "%",
        ),
        Row(
            "the same, of clinosim's notes, where nobody is named",
            lost,
            lost_by_rules or None,
            RULES,
            "%",
        ),
        Row(
            "CPU for a million characters",
            1e6 * scores["ours"].seconds / characters,
            1e6 * scores["peer"].seconds / characters,
            PEER,
        ),
    ]


class Scores(NamedTuple):
    """What one finder did: over all texts and by language, and how long it took."""

    total: Score
    by_language: dict[str, Score]
    seconds: float
    seconds_by_language: dict[str, float]


def _scores(texts: Sequence[Text], finder: Finder) -> Scores:
    total, by_language = Score(), {language: Score() for language in LANGUAGES}
    seconds = dict.fromkeys(LANGUAGES, 0.0)
    for text in texts:
        started = time.process_time()
        spans = list(finder(text))
        seconds[text.language] += time.process_time() - started
        total.add(text, spans)
        by_language[text.language].add(text, spans)
    return Scores(total, by_language, sum(seconds.values()), seconds)


def _of_names(ours: Scores, rules: Scores) -> Iterator[Row]:
    """With the model, beside the rules alone, in each language."""
    yield Row(
        "name: stay", _stays(ours.total, Kind.NAME), _stays(rules.total, Kind.NAME), RULES, "%"
    )
    for language, name in LANGUAGES.items():
        one, other = ours.by_language[language], rules.by_language[language]
        names = f"name, {name} ({one.planted[Kind.NAME]})"
        stay, by_rules = _stays(one, Kind.NAME), _stays(other, Kind.NAME)
        yield Row(f"{names}: stay", stay, by_rules or None, RULES, "%")
        wrong, wrong_by_rules = _wrong(one, Kind.NAME), _wrong(other, Kind.NAME)
        yield Row(f"{names}: finds that are none", wrong, wrong_by_rules or None, RULES, "%")
        lost, lost_by_rules = 100 * one.lost / one.letters, 100 * other.lost / other.letters
        yield Row(f"{name}: clinical text that is lost", lost, lost_by_rules or None, RULES, "%")
        count = one.texts
        yield Row(
            f"{name}: a text of {one.characters // count:,} characters",
            1e3 * ours.seconds_by_language[language] / count,
            1e3 * rules.seconds_by_language[language] / count,
            RULES,
            "ms of CPU",
        )


def _rows(ours: Score, peer: Score) -> Iterator[Row]:
    for kind in sorted(ours.planted):
        goal = NAMES if kind is Kind.NAME else STRUCTURED
        row = _stay(f"{kind} ({ours.planted[kind]})", ours, kind, goal)
        stays = 100 * peer.stayed[kind] / peer.planted[kind]
        yield Row(row.name, row.ours, stays or None, PEER, "%")
        yield Row(f"{row.name}, goal", row.ours, 100 * goal, "the most that may stay", "%", 1.0)
        if ours.wrong[kind] or peer.wrong[kind]:
            yield Row(
                f"{kind}: finds that are none",
                _wrong(ours, kind),
                _wrong(peer, kind) or None,
                PEER,
                "%",
            )


def _stay(name: str, score: Score, kind: Kind, goal: float) -> Row:
    return Row(f"{name}: stay", _stays(score, kind), 100 * goal, "the most that may stay", "%", 1.0)


def _stays(score: Score, kind: Kind) -> float:
    return 100 * score.stayed[kind] / score.planted[kind]


def _wrong(score: Score, kind: Kind) -> float:
    return 100 * score.share_wrong(kind)


def presidio() -> Finder:
    """Its recognisers for the language of a text, with their own thresholds. Raises MissingExtra."""
    try:
        from presidio_analyzer import RecognizerRegistry
    except ImportError as error:
        raise MissingExtra(
            "Presidio is not installed: pip install 'fedward-simulations[peers]'"
        ) from error
    os.environ.setdefault("TLDEXTRACT_CACHE_TIMEOUT", "0.1")
    known_ones = {}
    for language in ("en", "de", "zh"):
        registry = RecognizerRegistry()
        registry.load_predefined_recognizers(languages=[language])
        known_ones[language] = registry.recognizers

    def find(text: Text) -> Iterator[Found]:
        for recogniser in known_ones[text.language]:
            if recogniser.name == "SpacyRecognizer":  # reads what a model has found
                continue
            for hit in recogniser.analyze(text.text, recogniser.supported_entities, None) or ():
                yield Found(
                    hit.start, hit.end, KINDS.get(hit.entity_type, Kind.ID), recogniser.name
                )

    return find


def _lost_of_notes(more: scrub.Finder | None) -> float:
    """Per cent of letters and digits, of notes in which no identifier was planted."""
    score = Score()
    for note in _notes():
        score.add(note, scrub.find(note.text, more=more))
    return 100 * score.lost / score.letters


@lru_cache(maxsize=1)
def _notes() -> list[Text]:
    [site] = notes.load(SEED, sites=1, records_per_site=NOTES, held_out=1).sites
    return [Text(f"{note.prompt}\n{note.completion}", (), "en") for note in site]
