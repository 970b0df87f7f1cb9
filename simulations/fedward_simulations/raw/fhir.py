"""FHIR R4: a bundle for each visit, and months of a bulk export in NDJSON."""

import base64
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from fedward_simulations.raw.clinic import Resource
from fedward_simulations.raw.items import Item
from fedward_simulations.raw.ward import Expected, Ward, place

CATEGORY = "Problem List Item"
CODES = "http://hl7.org/fhir/sid/icd-10-cm"


def bundles(
    ward: Ward,
    draw: random.Random,
    people: Sequence[Sequence[Item]],
    visits: Sequence[Sequence[Sequence[Resource]]],
) -> None:
    """The diagnoses of `people`, each of whom has the visits of somebody in `visits`."""
    for number, diagnoses in enumerate(people):
        patient = diagnoses[0].patient
        came = visits[number] if number < len(visits) else [[]]
        for visit, resources in enumerate(came, start=1):
            entries = [_of(one, patient.number) for one in resources]
            entries += [] if visit > 1 else [condition(one) for one in diagnoses]
            indent = draw.choice((None, 1))
            at = "line 1, entry" if indent is None else "entry"
            expected = list(_notes(entries, at, patient.number))
            if visit == 1:
                first = len(entries) - len(diagnoses) + 1
                expected += [
                    _diagnosis(one, f"{at} {entry}") for entry, one in enumerate(diagnoses, first)
                ]
            body = {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{"resource": entry} for entry in entries],
            }
            name = f"{place(draw, diagnoses[0].day)}/{patient.number}-{visit}.json"
            data = json.dumps(body, ensure_ascii=False, indent=indent).encode()
            ward.put("fhir bundle", name, data, expected)


def export(ward: Ward, diagnoses: Sequence[Item], notes: Sequence[Item]) -> None:
    """Both as a bulk export has them: a folder for each month, a file for each type, a line for each."""
    for kind, items, made in (
        ("Condition", diagnoses, condition),
        ("DocumentReference", notes, document),
    ):
        months: dict[str, list[Item]] = defaultdict(list)
        for one in items:
            months[f"{one.day:%Y-%m}"].append(one)
        for month, several in sorted(months.items()):
            lines = [json.dumps(made(one)).encode() for one in several]
            expected = [
                _diagnosis(one, f"line {line}")
                if one.code
                else Expected.of(one, f"line {line}: DocumentReference/{_id(one)}, attachment 1")
                for line, one in enumerate(several, start=1)
            ]
            name = f"Archive/export/{month}/{kind}.ndjson"
            ward.put("fhir ndjson", name, b"\n".join(lines) + b"\n", expected)


def condition(one: Item) -> dict[str, Any]:
    """A diagnosis as clinosim writes conditions."""
    return {
        "resourceType": "Condition",
        "id": _id(one),
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "category": [{"coding": [{"code": "problem-list-item", "display": CATEGORY}]}],
        "code": {
            "coding": [{"system": CODES, "code": one.code, "display": one.text}],
            "text": one.text,
        },
        "subject": {"reference": f"Patient/{one.patient.number}"},
        "recordedDate": one.day.isoformat(),
    }


def document(one: Item) -> dict[str, Any]:
    """A note as clinosim writes them."""
    data = base64.b64encode(one.text.encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "id": _id(one),
        "status": "current",
        "type": {"text": one.kind},
        "subject": {"reference": f"Patient/{one.patient.number}"},
        "date": one.day.isoformat(),
        "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
    }


def _diagnosis(one: Item, at: str) -> Expected:
    return Expected.of(one, f"{at}: Condition/{_id(one)}", kind=CATEGORY)


def _id(one: Item) -> str:
    return one.name.replace(", ", "-").replace(" ", "-")


def _of(resource: Resource, number: str) -> dict[str, Any]:
    """The resource, of another patient."""
    whole = json.dumps(resource)
    named = resource["id"] if resource["resourceType"] == "Patient" else None
    said = str(named or resource["subject"]["reference"]).removeprefix("Patient/")
    changed: dict[str, Any] = json.loads(
        whole.replace(f'"{said}"', f'"{number}"').replace(
            f'"Patient/{said}"', f'"Patient/{number}"'
        )
    )
    return changed


def _notes(entries: Sequence[Resource], where: str, number: str) -> Iterator[Expected]:
    """What clinosim wrote about a visit: notes as attachments, others as sections."""
    for at, entry in enumerate(entries, start=1):
        kind = entry["resourceType"]
        stands = f"{where} {at}: {kind}/{entry['id']}"
        if kind not in ("DocumentReference", "Composition"):
            continue
        fields = {"unit": number, "date": entry["date"], "kind": entry["type"]["text"]}
        name = f"visit {entry['id']}"
        if kind == "DocumentReference":
            text = base64.b64decode(entry["content"][0]["attachment"]["data"]).decode()
            yield Expected(f"{stands}, attachment 1", text, fields, name=name)
        else:
            text = "\n".join(f"{one['title']}\n{_narrative(one)}" for one in entry["section"])
            yield Expected(stands, text, fields, "words", name)


def _narrative(section: Resource) -> str:
    """The words of its XHTML, which clinosim wrote."""
    return " ".join(ElementTree.fromstring(section["text"]["div"]).itertext())  # noqa: S314
