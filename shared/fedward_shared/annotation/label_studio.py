"""Label Studio's JSON: a list of tasks, each with a text and the results of its annotation.

An entity is a region of `<Labels>`, an attribute a `<TextArea perRegion="true">` of its name (or a
`<Choices>`, when read), a relation an arrow with a label. Written in code points; of either unit when
read (`offsets.py`).
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedward_shared.annotation import offsets
from fedward_shared.annotation.documents import MOST_MARKS, Document
from fedward_shared.errors import DataError
from fedward_shared.terms import describe

TEXT = "text"


class _Part(BaseModel):
    """What we read of an export; it has more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Value(_Part):
    start: Annotated[int, Field(strict=True, ge=0)] | None = None
    end: Annotated[int, Field(strict=True, ge=0)] | None = None
    text: str | list[str] | None = None
    labels: list[str] = []
    choices: list[str] = []


class _Result(_Part):
    id: str = ""
    type: str
    from_name: str = ""
    value: _Value = _Value()
    from_id: str = ""
    to_id: str = ""
    direction: Literal["right", "left", "bi"] | None = "right"
    labels: list[str] = []


class _Annotation(_Part):
    was_cancelled: bool = False
    result: Annotated[list[_Result], Field(max_length=4 * MOST_MARKS)] = []


class _Task(_Part):
    data: dict[str, Any]
    annotations: list[_Annotation] = []


class _Export(_Part):
    tasks: Annotated[list[_Task], Field(min_length=1)]


def decode(content: str, origin: str, field: str = TEXT) -> list[Document]:
    """The documents of an export; `field` of a task's data is the text. Raises DataError."""
    try:
        tasks = _Export.model_validate({"tasks": json.loads(content)}).tasks
    except ValidationError as error:
        raise DataError(f"{origin}: {describe(error)}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{origin}: is no JSON: {error}") from error
    return [_document(task, f"{origin}: task {n}", field) for n, task in enumerate(tasks, start=1)]


def _document(task: _Task, origin: str, field: str) -> Document:
    text = task.data.get(field)
    if not isinstance(text, str):
        raise DataError(f"{origin}: data.{field} is no text; it has {', '.join(task.data)}")
    made = [annotation for annotation in task.annotations if not annotation.was_cancelled]
    if len(made) > 1:
        raise DataError(
            f"{origin}: {len(made)} people have annotated it; export one at a time, and compare them "
            "with `fedward site annotation agreement`"
        )
    results = made[0].result if made else []
    entities: dict[str, dict[str, Any]] = {}
    for result in results:
        if result.type == "labels":
            value = result.value
            entities[result.id] = {
                "start": value.start,
                "end": value.end,
                "label": _one(value.labels, "label", origin),
                "text": value.text if isinstance(value.text, str) else None,
                "attributes": {},
            }
    places = {name: place for place, name in enumerate(entities)}
    relations = []
    for result in results:
        if result.type in ("textarea", "choices"):
            texts = result.value.choices or result.value.text
            values = texts if isinstance(texts, list) else [texts or ""]
            if result.id not in entities:
                raise DataError(f"{origin}: {result.from_name} belongs to no region")
            own = entities[result.id]["attributes"]
            own[result.from_name] = _one(values, result.from_name, origin)
        elif result.type == "relation":
            ends = [result.from_id, result.to_id]
            if result.direction == "bi" or any(end not in places for end in ends):
                raise DataError(f"{origin}: a relation without direction, or of no region")
            head, tail = (places[e] for e in (ends if result.direction != "left" else ends[::-1]))
            label = _one(result.labels, "label of a relation", origin)
            relations.append({"label": label, "head": head, "tail": tail})
        elif result.type != "labels":
            raise DataError(f"{origin}: {result.type!r} has no place in an annotated text")
    read = offsets.checked({"text": text, "entities": list(entities.values())}, origin)
    settled = offsets.settled(text, read.entities, origin)
    return offsets.checked({"text": text, "entities": settled, "relations": relations}, origin)


def encode(documents: list[Document], origin: str) -> str:
    """An export, or import, of `documents`. Raises DataError for offsets that are not in a text."""
    return json.dumps([_task(one, origin) for one in documents], ensure_ascii=False, indent=1)


def _task(document: Document, origin: str) -> dict[str, Any]:
    document.check(origin)
    results: list[dict[str, Any]] = []
    for number, entity in enumerate(document.entities):
        span = {"start": entity.start, "end": entity.end, "text": document.at(entity)}
        own = {"id": f"e{number}", "to_name": TEXT}
        labels = {"type": "labels", "value": {**span, "labels": [entity.label]}}
        results.append({**own, "from_name": "label", **labels})
        for name, value in entity.attributes.items():
            area = {"type": "textarea", "value": {**span, "text": [value]}}
            results.append({**own, "from_name": name, **area})
    for relation in document.relations:
        ends = {"from_id": f"e{relation.head}", "to_id": f"e{relation.tail}"}
        arrow = {"type": "relation", "direction": "right", "labels": [relation.label]}
        results.append({**arrow, **ends})
    return {"data": {TEXT: document.text}, "annotations": [{"result": results}]}


def _one(values: list[str], what: str, origin: str) -> str:
    if len(values) != 1:
        raise DataError(f"{origin}: {what}: {len(values)} values, where one has its place")
    return values[0]
