"""The reference of a pretraining's configuration is what its classes say."""

import inspect
import json
import os
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from fedward_server.pretraining.configuration import Pretraining

PAGE = Path(__file__).parents[2] / "docs/reference/pretraining-toml.md"
HEAD = """# The configuration of a pretraining

What `fedward pretrain FILE` reads: TOML, every key of it. Paths are from the file's folder on.
`preset` names a model of `fedward pretrain presets`, which the keys of `[model]` then change. Written by
`WRITE_REFERENCE=1 .venv/bin/pytest tests/docs -k pretraining_toml`.

"""
LISTS = ("sources", "augmentation")


def models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field's type names."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in models(part)]


def kind(annotation: Any) -> str:
    """What may be written, in words."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind(parts[0])
    if origin is typing.Literal:
        return ", ".join(f"`{part!r}`".replace("'", '"') for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list of {kind(parts[0])}"
    if origin is dict:
        return f"table of {kind(parts[1])}"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return f"`{annotation.__name__}`"
    names = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path"}
    return names.get(annotation, str(annotation))


def default(value: Any) -> str:
    if value is PydanticUndefined:
        return "has to be said"
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "the section's"
    return f"`{json.dumps(value)}`"


def section(place: str, model: type[BaseModel], many: bool) -> Iterator[str]:
    """A section, and then those within it."""
    yield f"## {f'[[{place}]]' if many else f'[{place}]' if place else 'the file'}\n\n"
    yield inspect.cleandoc(model.__doc__ or "") + "\n\n| key | value | default |\n|---|---|---|\n"
    inner = []
    for name, field in model.model_fields.items():
        own = models(field.annotation)
        yield f"| `{name}` | {kind(field.annotation)} | {default(field.default)} |\n"
        if own and (place, name) != ("search", "parameters"):
            inner.append((f"{place}.{name}" if place else name, own[0], name in LISTS))
    yield "\n"
    for at, found, several in inner:
        yield from section(at, found, several)


def test_the_reference_of_pretraining_toml_is_what_the_classes_say() -> None:
    expected = HEAD + "".join(section("", Pretraining, False)).rstrip() + "\n"
    if os.environ.get("WRITE_REFERENCE"):
        PAGE.write_text(expected, "utf-8")
    assert PAGE.read_text("utf-8") == expected
