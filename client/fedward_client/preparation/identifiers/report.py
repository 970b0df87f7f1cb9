"""What was found in many texts, counted: no value, no place and no text is in it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from fedward_client.preparation.identifiers.spans import Found, Kind


@dataclass
class Report:
    """Texts, texts in which something was found, and how much by each kind and rule."""

    texts: int = 0
    touched: int = 0
    counts: Counter[tuple[Kind, str]] = field(default_factory=Counter)

    def add(self, found: Iterable[Found]) -> None:
        """One more text."""
        kinds = [(span.kind, span.recogniser) for span in found]
        self.texts += 1
        self.touched += bool(kinds)
        self.counts.update(kinds)

    def as_json(self) -> dict[str, object]:
        """Sorted, so that the same counts are the same bytes."""
        by_kind: dict[str, dict[str, int]] = {}
        for (kind, recogniser), count in sorted(self.counts.items()):
            by_kind.setdefault(kind, {})[recogniser] = count
        return {"texts": self.texts, "touched": self.touched, "found": by_kind}
