"""What an annotation may hold: its labels, their attributes, relation types, and where entities end."""

import json
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from fedward_shared.annotation.documents import Label, bounded_bytes, decode_text
from fedward_shared.annotation.kinds import Overlap, Segmentation
from fedward_shared.errors import DataError
from fedward_shared.terms import Terms, describe


class AttributeTerms(Terms):
    """An attribute. Without `values` to choose from, its value is a part of the text."""

    name: Label
    values: tuple[Label, ...] = ()


class LabelTerms(Terms):
    """A label. Where `forms` lists how its entities are written, one that overlaps such a form and is
    none itself is a mistake: a longer form that is meant has to be listed too.
    """

    name: Label
    attributes: tuple[AttributeTerms, ...] = ()
    forms: Annotated[tuple[Label, ...], Field(max_length=100_000)] = ()


class RelationTerms(Terms):
    """A type of relation, and the labels at its ends; any label where none is listed."""

    name: Label
    head: tuple[Label, ...] = ()
    tail: tuple[Label, ...] = ()


class Schema(Terms):
    """`words`: what entities begin and end with (`boundaries.py`). `overlap`: whether one entity may lie
    in another, or cross it."""

    labels: Annotated[tuple[LabelTerms, ...], Field(min_length=1)]
    relations: tuple[RelationTerms, ...] = ()
    words: Segmentation = "unicode"
    overlap: Overlap = "forbidden"

    @model_validator(mode="after")
    def _consistent(self) -> "Schema":
        known = [label.name for label in self.labels]
        lists = {"labels": known, "relations": [relation.name for relation in self.relations]}
        for label in self.labels:
            lists[f"attributes of {label.name}"] = [a.name for a in label.attributes]
        for name, listed in lists.items():
            if len(set(listed)) != len(listed):
                raise ValueError(f"{name}: one occurs twice")
        for relation in self.relations:
            unknown = {*relation.head, *relation.tail} - set(known)
            if unknown:
                raise ValueError(f"relation {relation.name}: {min(unknown)!r} is no label")
        return self

    def label(self, name: str) -> LabelTerms | None:
        """The label called `name`."""
        return next((label for label in self.labels if label.name == name), None)

    def relation(self, name: str) -> RelationTerms | None:
        """The type of relation called `name`."""
        return next((relation for relation in self.relations if relation.name == name), None)


def read(path: Path) -> Schema:
    """The schema in `path`, TOML or JSON by its ending. Raises DataError that names each wrong field."""
    text = decode_text(bounded_bytes(path), path)
    try:
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    try:
        return Schema.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error)}") from error
