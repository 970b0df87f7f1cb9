"""FHIR R4: notes, diagnoses and patients of bundles, of single resources, and of NDJSON as Bulk Data
exports it.

Bundles are read entry by entry, each of bounded size. What is read of a resource is checked here, field
by field, and not by fhir.resources: that refuses a whole resource for an error in fields that are of no
use here, and takes longer than all else. So a resource that is no valid R4 is read as far as the fields
below go, profiles and terminologies are not checked, and references are not followed.
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from fedward_client.preparation.documents import Found, Origin
from fedward_client.preparation.readers import bounded, html
from fedward_shared.errors import Unreadable

NAME, VERSION = "fhir", 2
ENDINGS: tuple[str, ...] = (".fhir.json", ".fhir.ndjson")
MARK = b"\xef\xbb\xbf"
DEEPEST = 16
"""Of sections within sections."""

DEEPEST_JSON = 256
CONTACTS = {"email": "email", "fax": "fax", "url": "url"}
"""Systems of contact points, and the kinds of identifiers that they are; all others are telephones."""

Resource = Mapping[str, Any]


def takes(head: bytes) -> bool:
    """JSON that speaks of a type of resource."""
    return head.removeprefix(MARK).lstrip().startswith(b"{") and b'"resourceType"' in head


def read(path: Path, origin: Origin) -> Iterator[Found]:
    """Resource by resource; at the end, how many there were without words and of other types."""
    others: Counter[str] = Counter()
    wordless: Counter[str] = Counter()
    with path.open("rb") as file:
        for place, resource in _resources(file):
            kind = resource.get("resourceType")
            if not isinstance(kind, str):
                raise Unreadable(f"{place}: no resource, which says its resourceType")
            where = f"{place}: {kind}/{_text(resource.get('id')) or '?'}"
            if kind not in KINDS:
                others[kind] += 1
                continue
            nothing = True
            for found in KINDS[kind](resource, where, origin):
                nothing = False
                yield found
            wordless[kind] += nothing
    for kind, count in sorted((+wordless).items()):
        yield origin.remark("whole file", f"{count} resources {kind} have no words")
    for kind, count in sorted(others.items()):
        yield origin.remark("whole file", f"{count} resources {kind[:64]} are not read")


def _resources(file: BinaryIO) -> Iterator[tuple[str, Resource]]:
    begin = len(MARK) if file.read(len(MARK)) == MARK else 0
    file.seek(begin)
    if _in_lines(file.readline(bounded.LONGEST_LINE)):
        file.seek(begin)
        yield from _of_lines(file)
        return
    file.seek(begin)
    empty = True
    for place, resource in _of_bundle(file):
        empty = False
        yield place, resource
    if empty:
        file.seek(begin)
        resource = _object(bounded.Window(file).read(bounded.LARGEST_SPAN + 1), "the file")
        if resource.get("resourceType") != "Bundle":
            yield "the file", resource


def _in_lines(first: bytes) -> bool:
    """Whether the first line is a whole resource."""
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def _of_lines(file: BinaryIO) -> Iterator[tuple[str, Resource]]:
    for number, line in enumerate(bounded.lines(cast(bounded.Lines[bytes], file)), start=1):
        if line.strip():
            place = f"line {number}"
            resource = _object(line, place)
            if resource.get("resourceType") != "Bundle":
                yield place, resource
                continue
            for entry, one in enumerate(_dicts(resource.get("entry")), start=1):
                yield f"{place}, entry {entry}", _dict(one.get("resource"))


def _of_bundle(file: BinaryIO) -> Iterator[tuple[str, Resource]]:
    import ijson

    window = bounded.Window(file)
    try:
        for number, entry in enumerate(
            _entries(ijson.basic_parse(window, use_float=True)), start=1
        ):
            window.mark()
            place = f"entry {number}"
            if "resource" in _dict(entry, place):  # or it is a deletion, or what came of a request
                yield place, _dict(entry["resource"], place)
    except ijson.JSONError:
        raise Unreadable("no whole JSON") from None


def _entries(events: Iterator[tuple[str, Any]]) -> Iterator[Any]:
    """The values in the list `entry` of the outermost object, one at a time."""
    from ijson import ObjectBuilder

    depth, key, builder = 0, None, None
    for event, value in events:
        depth -= event.startswith("end_")
        if depth == 1 and event == "map_key":
            key = value
        if depth == 2 and key == "entry" and builder is None and event != "end_array":
            builder = ObjectBuilder()
        depth += event.startswith("start_")
        if depth > DEEPEST_JSON:  # a library's own paths would grow with the square of it
            raise Unreadable(f"values within more than {DEEPEST_JSON} values")
        if builder is not None:
            builder.event(event, value)
            if depth == 2:
                yield builder.value
                builder = None


def _object(data: bytes, place: str) -> Resource:
    try:
        return _dict(json.loads(data), place)
    except ValueError:
        raise Unreadable(f"{place}: no whole JSON") from None


def _patient(resource: Resource, where: str, origin: Origin) -> Iterator[Found]:
    """Who a patient is, whose names, numbers and addresses are then known in their documents."""
    known: list[tuple[str, str | None]] = []
    for name in _dicts(resource.get("name")):
        parts = [*_strings(name.get("given")), _text(name.get("family"))]
        known += [("name", _text(name.get("text"))), ("name", " ".join(parts))]
    known += [("record", _text(one.get("value"))) for one in _dicts(resource.get("identifier"))]
    for contact in _dicts(resource.get("telecom")):
        kind = CONTACTS.get(_text(contact.get("system")), "phone")
        known.append((kind, _text(contact.get("value"))))
    for address in _dicts(resource.get("address")):
        known += [("place", line) for line in _strings(address.get("line"))]
        known += [("place", _text(address.get(part))) for part in ("city", "postalCode")]
    yield from origin.person(where, _text(resource.get("id")), known)


def _document_reference(resource: Resource, where: str, origin: Origin) -> Iterator[Found]:
    fields = _fields(resource, "type", date="date")
    attachments = [_dict(one.get("attachment")) for one in _dicts(resource.get("content"))]
    yield from _attachments(attachments, fields, where, origin)


def _composition(resource: Resource, where: str, origin: Origin) -> Iterator[Found]:
    text = "\n\n".join(_sections(resource, where, 0))
    if text:
        yield origin.document(where, text, **_fields(resource, "type", date="date"))


def _sections(part: Resource, where: str, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise Unreadable(f"{where}: sections within more than {DEEPEST} sections")
    for section in _dicts(part.get("section")):
        said = [_text(section.get("title")), _narrative(section)]
        if text := "\n".join(filter(None, said)):
            yield text
        yield from _sections(section, where, depth + 1)


def _diagnostic_report(resource: Resource, where: str, origin: Origin) -> Iterator[Found]:
    fields = _fields(resource, "code", date="effectiveDateTime") | {
        "code": _code(_first(resource.get("conclusionCode")))
    }
    text = _text(resource.get("conclusion")) or _narrative(resource)
    if text:
        yield origin.document(where, text, **fields)
    yield from _attachments(_dicts(resource.get("presentedForm")), fields, where, origin)


def _observation(resource: Resource, where: str, origin: Origin) -> Iterator[Found]:
    """Of what was observed, words alone: a number is no text."""
    said = [_text(resource.get("valueString"))]
    said += [_text(part.get("valueString")) for part in _dicts(resource.get("component"))]
    said += [_text(note.get("text")) for note in _dicts(resource.get("note"))]
    if text := "\n".join(filter(None, said)):
        fields = _fields(resource, "code", date="effectiveDateTime")
        code = _code(_dict(resource.get("code")))
        yield origin.document(where, text, **fields | {"code": code})


def _condition(resource: Resource, where: str, origin: Origin) -> Iterator[Found]:
    said = [_name(_dict(resource.get("code")))]
    said += [_text(note.get("text")) for note in _dicts(resource.get("note"))]
    fields = _fields(resource, "category", date="recordedDate")
    fields["date"] = fields["date"] or _text(resource.get("onsetDateTime"))
    fields["code"] = _code(_dict(resource.get("code")))
    if text := "\n".join(filter(None, said)):
        yield origin.document(where, text, **fields)


KINDS: dict[str, Callable[[Resource, str, Origin], Iterator[Found]]] = {
    "DocumentReference": _document_reference,
    "Composition": _composition,
    "DiagnosticReport": _diagnostic_report,
    "Observation": _observation,
    "Condition": _condition,
    "Patient": _patient,
}


def _attachments(
    found: list[Resource], fields: dict[str, str | None], where: str, origin: Origin
) -> Iterator[Found]:
    for number, attachment in enumerate(found, start=1):
        place = f"{where}, attachment {number}"
        kind = _text(attachment.get("contentType")).partition(";")[0].strip().lower()
        data = _text(attachment.get("data"))
        if not data:
            yield origin.remark(place, "its text lies elsewhere, and is not fetched")
        elif kind not in ("text/plain", "text/html", "application/xhtml+xml"):
            yield origin.remark(place, f"an attachment of {kind[:64] or 'no kind'} is not read")
        else:
            text = _decoded(data, place)
            yield origin.document(
                place, text if kind == "text/plain" else html.text(text), **fields
            )


def _decoded(data: str, place: str) -> str:
    try:
        return base64.b64decode("".join(data.split()), validate=True).decode("utf-8-sig")
    except (binascii.Error, ValueError):
        raise Unreadable(f"{place}: no UTF-8 in base64") from None


def _fields(resource: Resource, kind: str, date: str) -> dict[str, str | None]:
    subject = _dict(resource.get("subject"))
    named = _text(subject.get("reference")) or _text(_dict(subject.get("identifier")).get("value"))
    concept = resource.get(kind)
    name = _name(_first(concept) if isinstance(concept, list) else _dict(concept))
    return {
        "unit": named.removeprefix("Patient/"),
        "date": _text(resource.get(date)),
        "kind": name or _text(resource.get("resourceType")),
    }


def _narrative(part: Resource) -> str:
    return html.text(_text(_dict(part.get("text")).get("div")))


def _name(concept: Resource) -> str:
    """What a CodeableConcept says in words."""
    shown = [_text(coding.get("display")) for coding in _dicts(concept.get("coding"))]
    return _text(concept.get("text")) or next(filter(None, shown), "")


def _code(concept: Resource) -> str:
    codes = [_text(coding.get("code")) for coding in _dicts(concept.get("coding"))]
    return next(filter(None, codes), "")


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"{type(value).__name__} where FHIR has a string")
    return value.strip()


def _dict(value: object, place: str = "") -> Resource:
    if value is None:
        return {}
    if not isinstance(value, dict):
        where = f"{place}: " if place else ""
        raise Unreadable(f"{where}{type(value).__name__} where FHIR has an object")
    return value


def _dicts(value: object) -> list[Resource]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{type(value).__name__} where FHIR has a list")
    return [_dict(one) for one in value]


def _strings(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{type(value).__name__} where FHIR has a list")
    return [_text(one) for one in value]


def _first(value: object) -> Resource:
    return next(iter(_dicts(value)), {})
