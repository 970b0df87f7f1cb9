"""What readers find in files: documents, pictures, people, and remarks on what was not read."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fedward_client.preparation import png
from fedward_client.preparation.identifiers.spans import Kind
from fedward_client.preparation.mask import Mask
from fedward_shared.errors import Unreadable

MOST_CHARACTERS = 2**20
"""Of the text of one document."""

MOST_OF_A_FIELD = 2**12
MOST_OF_A_PERSON = 64
"""Names, numbers and addresses of one person in one place."""

LONGEST_LINE = 2**24
"""In bytes, of one document on the pipe, where a character takes twelve at most; a picture has less."""

FIELDS = frozenset({"unit", "date", "code", "label", "kind"})
"""`unit`: whose record it is. `code`: in a terminology. `label`: what a study predicts."""


KINDS = frozenset(kind.value for kind in Kind)


@dataclass(frozen=True)
class Provenance:
    """Where something was found: a file, relative to its folder; a place in it; and by which reader."""

    file: str
    place: str
    reader: str


@dataclass(frozen=True)
class Document:
    """A text and what its file says about it. `fields` has no key that is not in `FIELDS`."""

    text: str
    provenance: Provenance
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture in the form of `png.encode`, and what its file says about it, as of a document."""

    png: bytes
    provenance: Provenance
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Remark:
    """Something that whoever prepares the data should know, as that a page has no text."""

    text: str
    provenance: Provenance


@dataclass(frozen=True)
class Person:
    """What a file says of the person `unit`, to be found again in their documents: names, and other
    values each with its kind, one of `identifiers.spans.Kind`."""

    unit: str
    known: tuple[tuple[str, str], ...]
    provenance: Provenance


Found = Document | Picture | Person | Remark


@dataclass(frozen=True)
class Origin:
    """The file that is being read, and by whom: what makes its documents. `mask`: what becomes black of
    pictures that text may be burnt into; None where nobody has said so."""

    file: str
    reader: str
    mask: Mask | None = None

    def document(self, place: str, text: str, **fields: str | None) -> Document:
        """Of `text`, empty fields left out. Raises Unreadable for a text or field that is too long."""
        found = Document(_clean(text), self._at(place), _kept(fields))
        _check(found)
        return found

    def picture(self, place: str, pixel_HW: Any, **fields: str | None) -> Picture:
        """Of uint8 [H, W] or [H, W, 3]. Raises Unreadable for a field that is too long."""
        found = Picture(png.encode(pixel_HW), self._at(place), _kept(fields))
        _check(found)
        return found

    def person(
        self, place: str, unit: str | None, known: Iterable[tuple[str, str | None]]
    ) -> Iterator[Person]:
        """Who `unit` is; nobody where there is no unit or nothing is known of them.

        Empty values are left out, and so are longer and later ones than can be.
        """
        said = dict.fromkeys(
            (kind, _clean(value.strip())) for kind, value in known if value and value.strip()
        )
        kept = [pair for pair in said if len(pair[1]) <= MOST_OF_A_FIELD][:MOST_OF_A_PERSON]
        who = _clean((unit or "").strip())[:MOST_OF_A_FIELD]
        if who and kept:
            yield Person(who, tuple(kept), self._at(place))

    def remark(self, place: str, text: str) -> Remark:
        """That `text` is so at `place`."""
        return Remark(_clean(text), self._at(place))

    def _at(self, place: str) -> Provenance:
        return Provenance(self.file, _clean(place)[:MOST_OF_A_FIELD], self.reader)


def encode(found: Found) -> bytes:
    """One line of JSON, the same for the same document."""
    about = found.provenance
    body: dict[str, object] = {}
    match found:
        case Document() | Remark():
            body["text"] = found.text
        case Picture():
            body["png"] = base64.b64encode(found.png).decode()
    body |= {"file": about.file, "place": about.place, "reader": about.reader}
    match found:
        case Person():
            body["known"] = [list(pair) for pair in found.known]
            body["unit"] = found.unit
        case Document() | Picture():
            body["fields"] = dict(sorted(found.fields.items()))
    return json.dumps(body).encode() + b"\n"


def decode(line: bytes) -> Found:
    """What `encode` gives. Raises Unreadable for anything else, however it was made."""
    refusal = Unreadable("its reader said what is no document")
    if len(line) > LONGEST_LINE:
        raise refusal
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        raise refusal from None
    if not isinstance(body, dict):
        raise refusal
    if "known" in body:
        return _person(body, refusal)
    fields = body.pop("fields", None)
    image = _image(body.pop("png"), refusal) if "png" in body else None
    what = {"text"} if image is None else set()
    if body.keys() != {"file", "place", "reader"} | what or not _texts(body):
        raise refusal
    about = Provenance(body["file"], body["place"], body["reader"])
    if fields is None and image is None:
        return Remark(body["text"], about)
    if not isinstance(fields, dict) or not _texts(fields):
        raise refusal
    of = MappingProxyType(fields)
    found = Document(body["text"], about, of) if image is None else Picture(image, about, of)
    _check(found)
    return found


def _image(text: object, refusal: Unreadable) -> bytes:
    try:
        found = base64.b64decode(text if isinstance(text, str) else "", validate=True)
        png.size(found)
    except (binascii.Error, ValueError):
        raise refusal from None
    if base64.b64encode(found).decode() != text:
        raise refusal
    return found


def _person(body: dict[str, object], refusal: Unreadable) -> Person:
    known = body.pop("known")
    if body.keys() != {"unit", "file", "place", "reader"} or not _texts(body):
        raise refusal
    if not isinstance(known, list) or not 0 < len(known) <= MOST_OF_A_PERSON:
        raise refusal
    for pair in known:
        if not isinstance(pair, list) or len(pair) != 2 or not _texts(dict(enumerate(pair))):
            raise refusal
        if pair[0] not in KINDS or not 0 < len(pair[1]) <= MOST_OF_A_FIELD:
            raise refusal
    unit, file, place, reader = (str(body[name]) for name in ("unit", "file", "place", "reader"))
    if not 0 < len(unit) <= MOST_OF_A_FIELD:
        raise refusal
    return Person(
        unit, tuple((kind, value) for kind, value in known), Provenance(file, place, reader)
    )


def _texts(body: Mapping[Any, object]) -> bool:
    return all(isinstance(value, str) and _clean(value) == value for value in body.values())


def _kept(fields: Mapping[str, str | None]) -> Mapping[str, str]:
    return MappingProxyType(
        {name: _clean(value.strip()) for name, value in fields.items() if value}
    )


def _check(found: Document | Picture) -> None:
    place = found.provenance.place
    if isinstance(found, Document) and len(found.text) > MOST_CHARACTERS:
        raise Unreadable(f"{place}: a text of more than {MOST_CHARACTERS:,} characters")
    for name, value in found.fields.items():
        if name not in FIELDS:
            raise Unreadable(f"{place}: no document has a field {name[:40]!r}")
        if len(value) > MOST_OF_A_FIELD:
            raise Unreadable(f"{place}: its {name} has more than {MOST_OF_A_FIELD:,} characters")


def _clean(text: str) -> str:
    """Without halves of characters, which JSON can write down and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")
