"""Identifiers found in invented clinical texts, beside Presidio's recognisers without a model.

The texts are the held-out half of `data.planted`. An identifier is found if all of its letters and
digits are covered, by whatever rule. Less is better here: the rates are of identifiers that stay (1 -
recall), and of finds in which there is none (1 - precision).
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedward_client.preparation.identifiers import known, scrub
from fedward_client.preparation.identifiers.spans import Found, Kind
from fedward_shared.errors import MissingExtra
from fedward_simulations.bench.rows import Row
from fedward_simulations.data import notes, planted
from fedward_simulations.data.planted import Text

COPIES, SEED = 40, 7
NOTES = 200
STRUCTURED, NAMES = 0.02, 0.1
"""How many may stay: goals."""
PEER = "Presidio, without a model"
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


@dataclass
class Score:
    """Counts over many texts."""

    planted: Counter[Kind] = field(default_factory=Counter)
    stayed: Counter[Kind] = field(default_factory=Counter)
    found: Counter[Kind] = field(default_factory=Counter)
    wrong: Counter[Kind] = field(default_factory=Counter)
    letters: int = 0
    lost: int = 0

    def add(self, text: Text, spans: Iterable[Found]) -> None:
        """One text and what was found in it."""
        spans = list(spans)
        covered = {place for span in spans for place in range(span.start, span.end)}
        secret = {place for value in text.planted for place in range(value.start, value.end)}
        signs = {place for place, character in enumerate(text.text) if character.isalnum()}
        for value in text.planted:
            self.planted[value.kind] += 1
            places = signs.intersection(range(value.start, value.end))
            self.stayed[value.kind] += not places <= covered
        for span in spans:
            self.found[span.kind] += 1
            self.wrong[span.kind] += secret.isdisjoint(range(span.start, span.end))
        self.letters += len(signs - secret)
        self.lost += len((signs & covered) - secret)


def run(folder: Path) -> list[Row]:
    """Rows for each kind, for clinical text that is lost, and for speed. Raises MissingExtra."""
    del folder
    texts = list(planted.texts(held_out=True, copies=COPIES, seed=SEED))
    finders: dict[str, Finder] = {"ours": _ours, "known": _with_record, "peer": presidio()}
    scores = {name: Score() for name in finders}
    seconds = {}
    for name, finder in finders.items():
        started = time.process_time()
        found = [list(finder(text)) for text in texts]
        seconds[name] = time.process_time() - started
        for text, spans in zip(texts, found, strict=True):
            scores[name].add(text, spans)
    ours, peer = scores["ours"], scores["peer"]
    characters = sum(len(text.text) for text in texts)
    return [
        *_rows(ours, peer),
        _stay("name, the patient's known from the record", scores["known"], Kind.NAME, NAMES),
        Row(
            "clinical text that is lost",
            100 * ours.lost / ours.letters,
            100 * peer.lost / peer.letters or None,
            PEER,
            "%",
        ),
        Row("the same, of clinosim's notes, where nobody is named", _lost_of_notes(), unit="%"),
        Row(
            "CPU for a million characters",
            1e6 * seconds["ours"] / characters,
            1e6 * seconds["peer"] / characters,
            PEER,
        ),
    ]


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
    stayed = 100 * score.stayed[kind] / score.planted[kind]
    return Row(f"{name}: stay", stayed, 100 * goal, "the most that may stay", "%", 1.0)


def _wrong(score: Score, kind: Kind) -> float:
    return 100 * score.wrong[kind] / max(1, score.found[kind])


def _ours(text: Text) -> Sequence[Found]:
    return scrub.find(text.text)


def _with_record(text: Text) -> Sequence[Found]:
    return scrub.find(text.text, known.of(text.patient))


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


def _lost_of_notes() -> float:
    """Per cent of letters and digits, of notes in which no identifier was planted."""
    score = Score()
    for note in notes.load(SEED, sites=1, records_per_site=NOTES, held_out=1).sites[0]:
        text = Text(f"{note.prompt}\n{note.completion}", (), "en")
        score.add(text, scrub.find(text.text))
    return 100 * score.lost / score.letters
