"""What a recogniser finds in a text: a kind of identifier, and where it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of the Safe Harbor rule, 45 CFR 164.514(b)(2)(i), as far as they occur in a text.

    Not here: finger and voice prints (P) and full-face images (Q), which are no text. `ID` is any other
    unique number or code (R).
    """

    NAME = "name"
    PLACE = "place"
    DATE = "date"
    AGE = "age"
    PHONE = "phone"
    FAX = "fax"
    EMAIL = "email"
    NATIONAL = "national"
    RECORD = "record"
    INSURANCE = "insurance"
    ACCOUNT = "account"
    LICENCE = "licence"
    VEHICLE = "vehicle"
    DEVICE = "device"
    URL = "url"
    IP = "ip"
    ID = "id"

    @property
    def tag(self) -> str:
        """What stands in its place."""
        return f"[{self.name}]"


@dataclass(frozen=True, order=True)
class Found:
    """An identifier at `start` to `end` of the original text, and the rule that found it."""

    start: int
    end: int
    kind: Kind
    recogniser: str


def merged(found: Iterable[Found]) -> list[Found]:
    """Spans that do not overlap and cover all that `found` covers, in the order of the text.

    Of spans that overlap the longest says the kind, of equally long ones the first in `found`: nothing
    that any rule has found stays, whatever the others made of it.
    """
    result: list[Found] = []
    longest = 0
    for span in sorted(found, key=lambda span: (span.start, -span.end)):
        if not result or span.start >= result[-1].end:
            result.append(span)
            longest = span.end - span.start
            continue
        last = result[-1]
        kind, recogniser = last.kind, last.recogniser
        if span.end - span.start > longest:
            longest, kind, recogniser = span.end - span.start, span.kind, span.recogniser
        result[-1] = Found(last.start, max(last.end, span.end), kind, recogniser)
    return result
