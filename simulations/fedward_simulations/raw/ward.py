"""A hospital's folder while it is filled, and what a reader should find in it."""

import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from fedward_shared import canonical
from fedward_simulations.raw.items import NOTHING, Item

FILES, DATABASES, TRUTH = "files", "databases", "truth.json"
PLACES = (
    "Cardiology/4 West",
    "Cardiology/ICU",
    "Innere Medizin/Station 3",
    "Chirurgie Süd/Ambulanz",
    "内科/一病区",
)
"""Departments and their wards."""

Match = Literal["exact", "words", "part"]
"""How a document's text is held against that of the truth: equal; equal but for white space, which a
page's layout decides; or containing it, beside what else its file says."""


@dataclass(frozen=True)
class Expected:
    """A document as a reader should find it in its file."""

    place: str
    text: str
    fields: Mapping[str, str]
    match: Match = "exact"
    name: str = ""
    planted: Mapping[str, object] = field(default_factory=lambda: NOTHING)

    @classmethod
    def of(
        cls, item: Item, place: str, day: str = "", kind: str | None = None, match: Match = "exact"
    ) -> "Expected":
        """The document of `item`, whose day and kind its file may write down in another way."""
        fields = {
            "unit": item.patient.number,
            "date": day or item.day.isoformat(),
            "code": item.code,
            "kind": item.kind if kind is None else kind,
        }
        said = {name: value for name, value in fields.items() if value}
        return cls(place, item.text, said, match, item.name, item.planted)


class Ward:
    """The folder of one hospital, in `folder`, which is not there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / FILES
        self.databases = folder / DATABASES
        for one in (self.files, self.databases):
            one.mkdir(parents=True)
        self._counts: Counter[str] = Counter()
        self._documents: list[dict[str, object]] = []
        self._quarantined: list[dict[str, str]] = []
        self._remarks: list[dict[str, str]] = []

    def put(self, kind: str, name: str, data: bytes, documents: Iterable[Expected]) -> Path:
        """A file of `kind` that is read, and what is in it."""
        for one in documents:
            self._documents.append(
                {
                    "file": name,
                    "place": one.place,
                    "match": one.match,
                    "text": one.text,
                    "fields": dict(one.fields),
                    "name": one.name,
                    "planted": dict(one.planted),
                }
            )
        return self._write(kind, name, data)

    def bad(self, name: str, data: bytes, reason: str) -> Path:
        """A file that is quarantined."""
        self.quarantined(name, reason)
        return self._write("bad", name, data)

    def quarantined(self, name: str, reason: str) -> None:
        """Says that `name`, which is made elsewhere, is quarantined."""
        self._quarantined.append({"file": name, "reason": reason})

    def remark(self, name: str, place: str, text: str) -> None:
        """Says that a reader remarks `text` of a place in the file `name`."""
        self._remarks.append({"file": name, "place": place, "remark": text})

    def close(self, about: Mapping[str, Any]) -> None:
        """Writes down the truth, with what else is said `about` the folder."""
        truth = {
            **about,
            "files": dict(self._counts),
            "documents": self._documents,
            "quarantined": self._quarantined,
            "remarks": self._remarks,
        }
        (self.folder / TRUTH).write_bytes(canonical.encode(truth))

    def _write(self, kind: str, name: str, data: bytes) -> Path:
        path = Path(os.fsdecode(os.fsencode(self.files) + b"/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
        self._counts[kind] += 1
        return path


def place(draw: random.Random, day: date) -> str:
    """A sub-folder for what is of that day."""
    return f"{draw.choice(PLACES)}/{day:%Y-%m}"
