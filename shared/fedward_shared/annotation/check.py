"""What is wrong with an annotation, where, what stands there, and what would fit.

By itself a span says nothing of what it was meant to be. It is held against all that does: its own
`text`, white space, grapheme clusters, words, the schema's known forms. What no rule can see is an
entity that is off by whole words, or one that was not marked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fedward_shared.annotation.boundaries import Boundaries, Span
from fedward_shared.annotation.documents import Document, Entity, Relation
from fedward_shared.annotation.schema import LabelTerms, Schema


@dataclass(frozen=True)
class Problem:
    """`place` within the document (`entities[0]`), what is wrong there, and a span that would fit."""

    place: str
    what: str
    suggestion: Span | None = None

    def sentence(self, text: str) -> str:
        """As people read it; `text` is the document's."""
        if self.suggestion is None:
            return f"{self.place}: {self.what}"
        start, end = self.suggestion
        return f"{self.place}: {self.what}; [{start}, {end}) is {text[start:end]!r}"


def problems(document: Document, schema: Schema) -> list[Problem]:
    """All that is wrong, in order. Raises MissingExtra if what segments the text is not installed."""
    boundaries = Boundaries.of(document.text, schema.words)
    found: list[Problem] = []
    for number, entity in enumerate(document.entities):
        place = f"entities[{number}]"
        label = schema.label(entity.label)
        if label is None:
            found.append(Problem(f"{place}.label", f"{entity.label!r} is not in the schema"))
        span = _span(document, entity, label, boundaries)
        if span is not None:
            found.append(Problem(place, *span))
        if label is not None:
            found.extend(_attributes(document, entity, label, place))
    found.extend(_overlaps(document, schema))
    for number, relation in enumerate(document.relations):
        what = _relation(document, relation, schema)
        if what:
            found.append(Problem(f"relations[{number}]", what))
    return found


def _span(
    document: Document, entity: Entity, label: LabelTerms | None, boundaries: Boundaries
) -> tuple[str, Span | None] | None:
    """What is wrong with the span, the plainest alone: one mistake breaks several rules."""
    text, start, end = document.text, entity.start, entity.end
    if not start < end <= len(text):
        what = f"[{start}, {end}) is no part of a text of {len(text)} code points"
        return what, _occurrence(text, entity.text, start)
    here = f"[{start}, {end}) is {document.at(entity)!r}"
    fitting = boundaries.nearest(text, (start, end))
    if entity.text is not None and entity.text != document.at(entity):
        return f"{here}, not {entity.text!r}", _occurrence(text, entity.text, start) or fitting
    if document.at(entity) != document.at(entity).strip():
        return f"{here}, which begins or ends with white space", fitting
    for name, offset in (("start", start), ("end", end)):
        if offset not in boundaries.graphemes:
            return (
                f"{here}: {name} {offset} is within a character that is written as several",
                fitting,
            )
    form = _form(document, entity, label)
    for name, offset in (("start", start), ("end", end)):
        if offset not in boundaries.words:
            return f"{here}: {name} {offset} is within a word", form or fitting
    return (f"{here}, which is no known form of {entity.label}", form) if form else None


def _occurrence(text: str, wanted: str | None, start: int) -> Span | None:
    """Where `wanted` stands nearest to `start`."""
    if not wanted:
        return None
    before, after = text.rfind(wanted, 0, start + len(wanted)), text.find(wanted, start)
    places = [place for place in (before, after) if place >= 0]
    if not places:
        return None
    place = min(places, key=lambda place: abs(place - start))
    return place, place + len(wanted)


def _form(document: Document, entity: Entity, label: LabelTerms | None) -> Span | None:
    """The longest known form that `entity` overlaps, unless it is one itself."""
    if label is None or document.at(entity) in label.forms:
        return None
    found: list[Span] = []
    for form in label.forms:
        start = max(0, entity.start - len(form) + 1)
        place = document.text.find(form, start, entity.end + len(form) - 1)
        if place >= 0:
            found.append((place, place + len(form)))
    return max(found, key=lambda span: (span[1] - span[0], -span[0]), default=None)


def _attributes(
    document: Document, entity: Entity, label: LabelTerms, place: str
) -> Iterator[Problem]:
    known = {attribute.name: attribute for attribute in label.attributes}
    for name, value in entity.attributes.items():
        where = f"{place}.attributes.{name}"
        if name not in known:
            yield Problem(where, f"{label.name} has no such attribute in the schema")
        elif known[name].values and value not in known[name].values:
            yield Problem(where, f"{value!r} is none of {', '.join(known[name].values)}")
        elif not known[name].values and (not value or value not in document.text):
            yield Problem(where, f"{value!r} is not in the text")


def _overlaps(document: Document, schema: Schema) -> Iterator[Problem]:
    """Each entity that lies in or crosses an earlier one, once."""
    if schema.overlap == "allowed":
        return
    ordered = sorted(enumerate(document.entities), key=lambda item: (item[1].start, -item[1].end))
    open_: list[tuple[int, Entity]] = []
    for number, entity in ordered:
        open_ = [(n, other) for n, other in open_ if other.end > entity.start]
        for n, other in open_:
            if schema.overlap == "nested" and entity.end <= other.end:
                continue
            how = "lies in" if entity.end <= other.end else "crosses"
            yield Problem(
                f"entities[{number}]",
                f"[{entity.start}, {entity.end}) {how} entities[{n}], [{other.start}, {other.end}), "
                f'and the schema says overlap = "{schema.overlap}"',
            )
            break
        open_.append((number, entity))


def _relation(document: Document, relation: Relation, schema: Schema) -> str:
    known = schema.relation(relation.label)
    if known is None:
        return f"{relation.label!r} is not in the schema"
    for end, number, labels in zip(
        ("head", "tail"),
        (relation.head, relation.tail),
        (known.head, known.tail),
        strict=True,
    ):
        if number >= len(document.entities):
            return f"{end} {number}: there are {len(document.entities)} entities, counted from 0"
        label = document.entities[number].label
        if labels and label not in labels:
            return f"{end} is {label!r}, which {relation.label} does not take there"
    return ""
