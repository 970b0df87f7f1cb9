"""Annotated texts, and the JSON lines that keep them, one text a line.

    {"text": "…", "entities": [{"start": 7, "end": 9, "label": "症状", "text": "胸痛",
     "attributes": {"duration": "3小时"}}], "relations": [{"label": "treats", "head": 1, "tail": 0}]}

A relation names its entities by their places in `entities`, from 0.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from fedward_shared.errors import DataError
from fedward_shared.files import write_atomically
from fedward_shared.terms import Terms, describe

MOST_BYTES = 2**28
MOST_TEXT = 2**18
MOST_MARKS = 10_000

Offset = Annotated[int, Field(strict=True, ge=0, le=MOST_TEXT)]
Place = Annotated[int, Field(strict=True, ge=0, lt=MOST_MARKS)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Value = Annotated[str, Field(max_length=10_000)]


class Entity(Terms):
    """The code points [start, end) of a text and what they are. `text` is what stands there, if the
    annotation says so: the one defence of its own that an offset has.
    """

    start: Offset
    end: Offset
    label: Label
    text: Value | None = None
    attributes: dict[Label, Value] = Field(default={}, max_length=64)


class Relation(Terms):
    """From the entity `head` to the entity `tail`."""

    label: Label
    head: Place
    tail: Place


class Document(Terms):
    """A text with its annotation."""

    text: Annotated[str, Field(max_length=MOST_TEXT)]
    entities: Annotated[tuple[Entity, ...], Field(max_length=MOST_MARKS)] = ()
    relations: Annotated[tuple[Relation, ...], Field(max_length=MOST_MARKS)] = ()

    def at(self, entity: Entity) -> str:
        """What stands where `entity` says it is."""
        return self.text[entity.start : entity.end]

    def check(self, origin: str) -> None:
        """Raises DataError for offsets that are not in the text, hold another text than the entity
        says, or relations of entities that are not there.
        """
        for number, entity in enumerate(self.entities):
            place = f"{origin}: entities[{number}]"
            if not entity.start < entity.end <= len(self.text):
                raise DataError(
                    f"{place}: [{entity.start}, {entity.end}) is no part of a text of {len(self.text)} "
                    "code points"
                )
            if entity.text is not None and entity.text != self.at(entity):
                raise DataError(
                    f"{place}: at [{entity.start}, {entity.end}) stands {self.at(entity)!r}, not "
                    f"{entity.text!r}; `fedward site annotation check` suggests the span"
                )
        for number, relation in enumerate(self.relations):
            if max(relation.head, relation.tail) >= len(self.entities):
                raise DataError(
                    f"{origin}: relations[{number}]: there are {len(self.entities)} entities only, "
                    "counted from 0"
                )

    def located(self) -> "Document":
        """The same, each entity with its own `text`."""
        entities = tuple(e.model_copy(update={"text": self.at(e)}) for e in self.entities)
        return self.model_copy(update={"entities": entities})


_ENTITIES: TypeAdapter[tuple[Entity, ...]] = TypeAdapter(
    Annotated[tuple[Entity, ...], Field(max_length=MOST_MARKS)]
)


def parse(text: str | bytes, origin: str) -> Document:
    """The document that `text` is, in JSON. Raises DataError that names each wrong field."""
    try:
        return Document.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"{origin}: {describe(error)}") from error


def parse_entities(text: str, origin: str) -> tuple[Entity, ...]:
    """The entities that `text` lists, in JSON. Raises DataError that names each wrong field."""
    try:
        return _ENTITIES.validate_json(text)
    except ValidationError as error:
        raise DataError(f"{origin}: {describe(error)}") from error


def entities_json(entities: tuple[Entity, ...]) -> str:
    """The entities as `parse_entities` reads them."""
    return _ENTITIES.dump_json(entities, exclude_defaults=True).decode()


def decode(content: bytes, origin: str) -> list[Document]:
    """The documents in `content`, JSON lines. Raises DataError that names the line."""
    lines = [
        (number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()
    ]
    if not lines:
        raise DataError(f"{origin}: holds no annotated text")
    return [parse(line, f"{origin}: line {number}") for number, line in lines]


def encode(documents: list[Document]) -> bytes:
    """The documents as JSON lines."""
    lines = (document.model_dump_json(exclude_defaults=True) for document in documents)
    return "".join(f"{line}\n" for line in lines).encode()


def bounded_bytes(path: Path) -> bytes:
    """The file's bytes. Raises DataError for one that is not there or longer than `MOST_BYTES`."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: longer than {MOST_BYTES >> 20} MiB; split it")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def decode_text(content: bytes, origin: Any) -> str:
    """UTF-8. Raises DataError that names the line."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{origin}: line {line} is not UTF-8; convert the file") from error


def read(path: Path) -> list[Document]:
    """The documents in the JSON lines of `path`. Raises DataError."""
    return decode(bounded_bytes(path), str(path))


def write(path: Path, documents: list[Document]) -> None:
    """Writes JSON lines, which the user alone may read."""
    write_atomically(path, encode(documents), mode=0o600)
