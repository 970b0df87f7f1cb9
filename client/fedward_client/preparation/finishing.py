"""What becomes of documents that are no duplicates: scored, scrubbed, and one record each.

Each is looked at by itself, so that nobody's record decides about another's, and the same document has
the same record wherever it stands.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, cast

from fedward_client.preparation import owners
from fedward_client.preparation.documents import Document, Picture, decode
from fedward_client.preparation.identifiers import dates
from fedward_client.preparation.identifiers.known import NOBODY, Known
from fedward_client.preparation.identifiers.pseudonyms import Person, Pseudonyms
from fedward_client.preparation.identifiers.scrub import Finder, scrub
from fedward_client.preparation.identifiers.spans import Kind
from fedward_client.preparation.labels import Labels

Outcome = Literal["kept", "duplicate", "low quality"]
LowQuality = Literal["flag", "leave-out", "unscored"]
Pairs = tuple[tuple[str, str], ...]
"""Kinds and values of what is known of somebody."""

DIGITS = 4
"""Of a quality, as it is written down and compared with the cut."""


@dataclass(frozen=True)
class Quality:
    """`model`: the base model's folder. `head`: the file of the head, the one of fedward by default."""

    model: Path
    head: Path | None
    cut: float
    leaves_out: bool


@dataclass(frozen=True)
class Rules:
    """How documents become records; `key` makes the pseudonyms, and is written down nowhere.

    `names` is the folder of the base model that finds names, None where rules alone do.
    """

    key: bytes
    labels: Labels
    day_first: bool
    quality: Quality | None
    names: Path | None = None

    def __repr__(self) -> str:
        return f"Rules(labels={self.labels.digest}, quality={self.quality}, names={self.names})"


@dataclass(frozen=True)
class Piece:
    """Documents from number `first` on, as `documents.encode` writes each; for each, what is `known` of
    its person by kind and value, and the number of the one that stands `instead` of it."""

    first: int
    documents: Sequence[bytes]
    known: Sequence[Pairs]
    instead: Sequence[int]


def lines(rules: Rules, piece: Piece) -> bytes:
    """A line of JSON for each document: where it stood, what became of it, and its record.

    Raises ModelError where texts cannot be scored, or names not be found.
    """
    said = [
        _line(rules, number, instead, cast(Document, decode(document)), of_person)
        for number, (instead, document, of_person) in enumerate(
            zip(piece.instead, piece.documents, piece.known, strict=True), piece.first
        )
    ]
    return b"".join(
        json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for one in said
    )


def _line(
    rules: Rules, number: int, instead: int, document: Document, of_person: Pairs
) -> dict[str, Any]:
    about = document.provenance
    line: dict[str, Any] = {
        "number": number,
        "file": about.file,
        "place": about.place,
        "reader": about.reader,
    }
    if instead != number:
        return line | {"outcome": "duplicate", "instead": instead}
    quality = None
    if rules.quality is not None:
        quality = line["quality"] = round(_scorer(rules.quality)(document.text), DIGITS)
        if rules.quality.leaves_out and quality < rules.quality.cut:
            return line | {"outcome": "low quality"}
    record, found = _record(rules, document, of_person)
    if quality is not None:
        record["quality"] = quality
    return line | {"outcome": "kept", "found": found, "record": record}


def _record(
    rules: Rules, document: Document, of_person: Pairs
) -> tuple[dict[str, Any], dict[str, int]]:
    """The record, and how many identifiers of each kind by each rule were found in its text."""
    owner, named = owners.of(document)
    person = _pseudonyms(rules.key).person(owner)
    is_known = _known((*of_person, ("record", owner))) if named else NOBODY
    scrubbed = scrub(
        document.text,
        is_known,
        person if named else None,
        day_first=rules.day_first,
        more=_tagger(rules.names) if rules.names else None,
    )
    found = Counter(f"{span.kind.value}/{span.recogniser}" for span in scrubbed.found)
    said = {"text": scrubbed.text} if scrubbed.text else {}
    return said | facts(rules, document), dict(sorted(found.items()))


def facts(rules: Rules, of: Document | Picture) -> dict[str, Any]:
    """What a record says besides its text or image, as far as it is known."""
    fields = of.fields
    owner, named = owners.of(of)
    person = _pseudonyms(rules.key).person(owner)
    said: dict[str, str | None] = {
        "label": fields.get("label") or rules.labels.of(fields.get("code", "")),
        "code": fields.get("code"),
        "kind": fields.get("kind"),
        "date": _date(fields.get("date"), person, rules.day_first) if named else None,
        "owner": person.pseudonym,
    }
    return {name: value for name, value in said.items() if value}


def _known(pairs: Pairs) -> Known:
    names = tuple(value for kind, value in pairs if kind == Kind.NAME)
    return Known(names, tuple((Kind(kind), value) for kind, value in pairs if kind != Kind.NAME))


def _date(text: str | None, person: Person, day_first: bool) -> str | None:
    """A record's own date, moved as those in its text; of a time the day alone."""
    if not text:
        return None
    try:
        moved = date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        moved = text
    return dates.shifted(moved, person.days, day_first)


@lru_cache(maxsize=1)
def _pseudonyms(key: bytes) -> Pseudonyms:
    return Pseudonyms(key)


@lru_cache(maxsize=1)
def _scorer(quality: Quality) -> Any:
    """Of one process: the model is loaded once, and reckons on one thread."""
    import torch

    from fedward_shared.text.quality import Head, Scorer

    torch.set_num_threads(1)
    scorer = Scorer(quality.model, Head.load(quality.head))
    return partial(_score, scorer)


@lru_cache(maxsize=1)
def _tagger(base_model: Path) -> Finder:
    """Of one process, as `_scorer`, with which it shares the weights."""
    import torch

    from fedward_client.preparation.identifiers.tagger import Tagger

    torch.set_num_threads(1)
    return Tagger(base_model).find


def _score(scorer: Any, text: str) -> float:
    return float(scorer.score([text])[0])
