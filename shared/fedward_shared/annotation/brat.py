"""brat's standoff files: NAME.txt with a text, NAME.ann with its annotation.

    T1\tsymptom 7 9\t胸痛
    A1\tduration T1 3小时
    R1\ttreats Arg1:T2 Arg2:T1

Written in code points; of either unit when read (`offsets.py`). Notes (#) are left out; events,
equivalences, normalisations and spans of several parts have no place in a :class:`Document` and are
refused.
"""

import re
from pathlib import Path

from fedward_shared.annotation import offsets
from fedward_shared.annotation.documents import (
    Document,
    bounded_bytes,
    decode_text,
)
from fedward_shared.errors import DataError
from fedward_shared.files import write_atomically

_ENTITY = re.compile(r"(T[0-9]+)\t(\S+) ([0-9]{1,9}) ([0-9]{1,9})\t(.*)", re.DOTALL)
_ATTRIBUTE = re.compile(r"A[0-9]+\t(\S+) (T[0-9]+)(?: (.*))?", re.DOTALL)
_RELATION = re.compile(r"R[0-9]+\t(\S+) \S+?:(T[0-9]+) \S+?:(T[0-9]+)\s*")
FLAG = "true"
"""The value of an attribute that is there and has none: brat's binary attributes."""


def decode(text: str, annotation: str, origin: str) -> Document:
    """The document of a text and its .ann. Raises DataError that names the line."""
    entities: list[dict[str, object]] = []
    places: dict[str, int] = {}
    attributes: list[tuple[str, str, str, str]] = []
    relations: list[tuple[str, str, str, str]] = []
    for number, line in enumerate(annotation.split("\n"), start=1):
        where, line = f"{origin}: line {number}", line.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        if found := _ENTITY.fullmatch(line):
            name, label, start, end, covered = found.groups()
            if name in places:
                raise DataError(f"{where}: {name} occurs twice")
            places[name] = len(entities)
            entities.append({"label": label, "start": int(start), "end": int(end), "text": covered})
        elif found := _ATTRIBUTE.fullmatch(line):
            attributes.append((where, found[2], found[1], found[3] or FLAG))
        elif found := _RELATION.fullmatch(line):
            relations.append((where, found[1], found[2], found[3]))
        else:
            raise DataError(
                f"{where}: {line[:60]!r} is no entity of one part, attribute of an entity or relation"
            )
    for where, name, attribute, value in attributes:
        own = entities[_place(places, name, where)].setdefault("attributes", {})
        assert isinstance(own, dict)
        own[attribute] = value
    read = offsets.checked({"text": text, "entities": entities}, origin)
    content = {
        "text": text,
        "entities": offsets.settled(text, read.entities, origin),
        "relations": [
            {"label": label, "head": _place(places, head, at), "tail": _place(places, tail, at)}
            for at, label, head, tail in relations
        ],
    }
    return offsets.checked(content, origin)


def encode(document: Document, origin: str) -> str:
    """The .ann of `document`. Raises DataError for what brat's format cannot hold."""
    document.check(origin)
    lines, attributes = [], []
    for number, entity in enumerate(document.entities, start=1):
        covered = "".join(" " if c in "\n\r" else c for c in document.at(entity))
        label = _word(entity.label, origin)
        lines.append(f"T{number}\t{label} {entity.start} {entity.end}\t{covered}")
        attributes += [(name, number, value) for name, value in entity.attributes.items()]
    for count, (name, number, value) in enumerate(attributes, start=1):
        if not value or "\n" in value or value.endswith("\r"):
            raise DataError(
                f"{origin}: attribute {name}: brat has no empty value and none of two lines"
            )
        lines.append(f"A{count}\t{_word(name, origin)} T{number} {value}")
    for count, relation in enumerate(document.relations, start=1):
        ends = f"Arg1:T{relation.head + 1} Arg2:T{relation.tail + 1}"
        lines.append(f"R{count}\t{_word(relation.label, origin)} {ends}")
    return "".join(f"{line}\n" for line in lines)


def read(folder: Path) -> list[Document]:
    """The documents of a folder, by name. Raises DataError."""
    texts = sorted(folder.glob("*.txt"))
    if not texts:
        raise DataError(f"{folder}: holds no .txt; brat has NAME.txt and NAME.ann for each text")
    documents = []
    for path in texts:
        marks = path.with_suffix(".ann")
        text, annotation = (decode_text(bounded_bytes(p), p) for p in (path, marks))
        documents.append(decode(text, annotation, str(marks)))
    return documents


def write(folder: Path, documents: list[Document]) -> None:
    """Writes both files of each document, named by numbers; nothing if one cannot be."""
    marks = [encode(one, f"document {number}") for number, one in enumerate(documents, start=1)]
    width = len(str(len(documents)))
    for number, (document, annotation) in enumerate(zip(documents, marks, strict=True), start=1):
        name = f"{number:0{width}}"
        write_atomically(folder / f"{name}.txt", document.text.encode(), mode=0o600)
        write_atomically(folder / f"{name}.ann", annotation.encode(), mode=0o600)


def _place(places: dict[str, int], name: str, where: str) -> int:
    if name not in places:
        raise DataError(f"{where}: there is no entity {name}")
    return places[name]


def _word(name: str, origin: str) -> str:
    if re.search(r"\s", name):
        raise DataError(f"{origin}: {name!r}: brat's names have no white space; rename it")
    return name
