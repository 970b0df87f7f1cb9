"""Offsets of other tools. What runs in a browser has counted UTF-16 code units: by those, a character
outside the basic plane (an emoji, a rare Chinese one) is two.

brat's files (brat#1115) and those of older Label Studios (label-studio#1008, #1347) are of either kind
and do not say which. They do say what stands at each offset.
"""

from collections.abc import Sequence

from pydantic import ValidationError

from fedward_shared.annotation.documents import Document, Entity
from fedward_shared.errors import DataError
from fedward_shared.terms import describe


def settled(text: str, entities: Sequence[Entity], origin: str) -> tuple[Entity, ...]:
    """The entities in code points, each with the `text` that stands there.

    They are in code points already or, where their `text` does not fit that, all in UTF-16 code units.
    White space may differ: tools write a line's end as a space. Raises DataError, naming what stands
    where, if neither reading fits.
    """
    read = _fitting(text, entities)
    if read is None:
        read = _fitting(text, _from_utf16(text, entities))
    if read is None:
        for number, entity in enumerate(entities):
            found = text[entity.start : entity.end]
            if not _same(found, entity.text):
                raise DataError(
                    f"{origin}: entity {number + 1}: at [{entity.start}, {entity.end}) stands {found!r}"
                    f", not {entity.text!r}, in code points, and no other in UTF-16 code units"
                )
        raise DataError(f"{origin}: an entity is empty or outside the text")
    return read


def _fitting(text: str, entities: Sequence[Entity]) -> tuple[Entity, ...] | None:
    document = Document(text=text, entities=tuple(entities)).located()
    for entity, located in zip(entities, document.entities, strict=True):
        if not entity.start < entity.end <= len(text) or not _same(located.text, entity.text):
            return None
    return document.entities


def _from_utf16(text: str, entities: Sequence[Entity]) -> list[Entity]:
    """An offset within a pair of code units is that of the character: then the text does not fit."""
    places: list[int] = []
    for place, character in enumerate(text):
        places += [place] * (2 if ord(character) > 0xFFFF else 1)
    places.append(len(text))

    def place_of(offset: int) -> int:
        return places[offset] if offset < len(places) else len(text) + 1

    return [
        e.model_copy(update={"start": place_of(e.start), "end": place_of(e.end)}) for e in entities
    ]


def _same(found: str | None, said: str | None) -> bool:
    return said is None or _flat(found or "") == _flat(said)


def _flat(text: str) -> str:
    return " ".join(text.split())


def checked(content: object, origin: str) -> Document:
    """The document that a tool's file holds. Raises DataError that names each wrong field."""
    try:
        document = Document.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{origin}: {describe(error)}") from error
    return document
