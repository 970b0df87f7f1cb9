"""A preparation counted: what the report says, and the card draws. No value of a record is in it."""

from array import array
from base64 import b32decode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

BINS = 20
"""Of the qualities from 0 to 1."""

MOST_LABELS = 1_000
"""That are named in a report, the most frequent ones, and as many kinds."""


@dataclass
class Tally:
    """Over all documents, or all pictures, one after the other."""

    cut: float
    outcomes: Counter[str] = field(default_factory=Counter)
    readers: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    quality: Counter[int] = field(default_factory=Counter)
    flagged: int = 0
    touched: int = 0
    characters: int = 0
    dated: int = 0
    _owners: "array[int]" = field(default_factory=lambda: array("Q"))

    def add(self, line: Mapping[str, Any]) -> None:
        """A line of `finishing.lines` or `pictures.finish`."""
        self.outcomes[line["outcome"]] += 1
        self.readers[line["reader"]] += 1
        if (quality := line.get("quality")) is not None:
            self.quality[min(int(quality * BINS), BINS - 1)] += 1
        if line["outcome"] != "kept":
            return
        record = line["record"]
        self.flagged += quality is not None and quality < self.cut
        self.kinds[record.get("kind", "")] += 1
        self.labels[record.get("label", "")] += 1
        found = line.get("found", {})
        self.found.update(found)
        self.touched += bool(found)
        self.characters += len(record.get("text", ""))
        self.dated += "date" in record
        # 64 of a pseudonym's 80 bits: two owners of a million are taken for one with p = 3e-8
        self._owners.append(int.from_bytes(b32decode(record["owner"])[:8], "big"))

    @property
    def records(self) -> int:
        """How many are kept."""
        return self.outcomes["kept"]

    def owners(self) -> tuple[int, int, int]:
        """How many there are, and the median and the largest number of records of one."""
        if not self._owners:
            return 0, 0, 0
        _, counts = np.unique(np.frombuffer(self._owners, np.uint64), return_counts=True)
        return len(counts), int(np.median(counts)), int(counts.max())

    def as_json(self) -> dict[str, Any]:
        """Whole numbers and texts, the same for the same documents."""
        owners, median, most = self.owners()
        named = Counter(self.labels)
        unlabelled = named.pop("", 0)
        shown = dict(sorted(named.most_common(MOST_LABELS)))
        return {
            "documents": {
                "read": self.outcomes.total(),
                "kept": self.records,
                "duplicates": self.outcomes["duplicate"],
                "low_quality": self.outcomes["low quality"],
            },
            "records": {
                "owners": owners,
                "median_of_an_owner": median,
                "most_of_an_owner": most,
                "characters": self.characters,
                "dated": self.dated,
                "labelled": self.records - unlabelled,
                "below_cut": self.flagged,
            },
            "readers": _sorted(self.readers),
            "kinds": dict(sorted(self.kinds.most_common(MOST_LABELS))),
            "labels": shown,
            "other_labels": named.total() - sum(shown.values()),
            "quality": [self.quality[number] for number in range(BINS)] if self.quality else [],
            "identifiers": {"texts_with_any": self.touched, "found": _sorted(self.found)},
        }

    def pictures(self) -> dict[str, Any]:
        """The same of pictures, of which less is known."""
        owners, median, most = self.owners()
        return {
            "read": self.outcomes.total(),
            "kept": self.records,
            "duplicates": self.outcomes["duplicate"],
            "owners": owners,
            "median_of_an_owner": median,
            "most_of_an_owner": most,
            "dated": self.dated,
            "labelled": self.records - self.labels[""],
            "readers": _sorted(self.readers),
            "kinds": dict(sorted(self.kinds.most_common(MOST_LABELS))),
        }


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))
