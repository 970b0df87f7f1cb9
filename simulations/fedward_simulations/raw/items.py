"""What a hospital's systems hold of people before it lies in files."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Diagnosis:
    """A description with its code, and the label that a study predicts."""

    text: str
    code: str
    label: str


@dataclass(frozen=True)
class Patient:
    """Somebody of the ward. `number` is their id in every system."""

    number: str
    family: str
    given: str
    born: date


@dataclass(frozen=True)
class Item:
    """A note, or a diagnosis with its code. `name` is its own; `planted` says what was done to it."""

    name: str
    patient: Patient
    day: date
    text: str
    kind: str
    code: str = ""
    planted: Mapping[str, object] = field(default_factory=lambda: NOTHING)


def storable(text: str) -> str:
    """Without what no system stores: control characters, and ends of line that are none everywhere."""
    kept = (c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Zl", "Zp", "Cs"))
    return "".join(kept).strip()
