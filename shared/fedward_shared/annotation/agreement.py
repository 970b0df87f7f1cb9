"""How far two annotators of the same texts agree.

Cohen 1960, "A Coefficient of Agreement for Nominal Scales", over tokens; F1 over entities, which needs
no count of what neither has marked (Hripcsak and Rothschild 2005, "Agreement, the F-Measure, and
Reliability in Information Retrieval").
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fedward_shared.annotation.boundaries import words
from fedward_shared.annotation.documents import Document
from fedward_shared.annotation.kinds import Segmentation
from fedward_shared.annotation.tags import Marked, on_tokens
from fedward_shared.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """`kappa` is None where both give all tokens one and the same label, an F1 where nobody marked
    anything: there is nothing to agree on.
    """

    texts: int
    tokens: int
    kappa: float | None
    exact: float | None
    overlapping: float | None


def agreement(
    one: Sequence[Document], other: Sequence[Document], segmentation: Segmentation = "unicode"
) -> Agreement:
    """Of two annotations of the same texts, in the same order. Raises DataError if they are not."""
    if len(one) != len(other):
        raise DataError(f"one annotator has {len(one)} texts, the other {len(other)}")
    pairs: Counter[tuple[str, str]] = Counter()
    exact = Matches()
    overlapping = Matches()
    for number, (a, b) in enumerate(zip(one, other, strict=True), start=1):
        if a.text != b.text:
            raise DataError(f"text {number} is not the same for both annotators")
        a.check(f"text {number} of the first")
        b.check(f"text {number} of the second")
        pairs.update(zip(_labels(a, segmentation), _labels(b, segmentation), strict=True))
        exact += matches(_marked(a), _marked(b))
        overlapping += overlaps(_marked(a), _marked(b))
    return Agreement(len(one), pairs.total(), kappa(pairs), exact.f1, overlapping.f1)


def kappa(pairs: Counter[tuple[str, str]]) -> float | None:
    """Cohen's κ of how often one annotator says this label and the other that."""
    total = pairs.total()
    ones: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for (one, other), count in pairs.items():
        ones[one] += count
        others[other] += count
    # In whole numbers, so that "all of one label" is exact.
    by_chance = sum(count * others[label] for label, count in ones.items())
    if by_chance == total * total:
        return None
    agreed = sum(count for (one, other), count in pairs.items() if one == other)
    return (agreed * total - by_chance) / (total * total - by_chance)


@dataclass(frozen=True)
class Matches:
    """How many entities each side has, and how many of these the other has too."""

    found: int = 0
    found_right: int = 0
    wanted: int = 0
    wanted_right: int = 0

    def __add__(self, other: "Matches") -> "Matches":
        return Matches(
            self.found + other.found,
            self.found_right + other.found_right,
            self.wanted + other.wanted,
            self.wanted_right + other.wanted_right,
        )

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None if neither side has an entity."""
        if not self.found + self.wanted:
            return None
        if not (self.found_right and self.wanted_right):
            return 0.0
        precision, recall = self.found_right / self.found, self.wanted_right / self.wanted
        return 2 * precision * recall / (precision + recall)


def matches(found: Sequence[Marked], wanted: Sequence[Marked]) -> Matches:
    """Entities match that have the same start, end and label, each with one."""
    right = (Counter(found) & Counter(wanted)).total()
    return Matches(len(found), right, len(wanted), right)


def overlaps(found: Sequence[Marked], wanted: Sequence[Marked]) -> Matches:
    """Entities match that share a code point and the label."""

    def right(some: Sequence[Marked], others: Sequence[Marked]) -> int:
        return sum(
            any(s < end and start < e and own == label for s, e, own in others)
            for start, end, label in some
        )

    return Matches(len(found), right(found, wanted), len(wanted), right(wanted, found))


def _marked(document: Document) -> list[Marked]:
    return [(entity.start, entity.end, entity.label) for entity in document.entities]


def _labels(document: Document, segmentation: Segmentation) -> list[str]:
    """The label of each token, several in order where entities overlap, or none."""
    spans = words(document.text, segmentation)
    labels: list[set[str]] = [set() for _ in spans]
    for start, end, label in on_tokens(_marked(document), spans):
        for place in range(start, end):
            labels[place].add(label)
    return [" ".join(sorted(own)) for own in labels]
