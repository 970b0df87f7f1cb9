"""A text without the identifiers that are found in it.

That is no anonymisation, and no differential privacy: see `docs/explanation/identifiers.md`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

from fedward_client.preparation.identifiers import ages, chinese_names, dates, names
from fedward_client.preparation.identifiers.contacts import CONTACTS
from fedward_client.preparation.identifiers.known import NOBODY, RECOGNISER, Known
from fedward_client.preparation.identifiers.labelled import LABELLED
from fedward_client.preparation.identifiers.numbers import LEFTOVER, NUMBERS
from fedward_client.preparation.identifiers.patterns import plain
from fedward_client.preparation.identifiers.places import PLACES
from fedward_client.preparation.identifiers.pseudonyms import Person
from fedward_client.preparation.identifiers.spans import Found, Kind, merged

Finder = Callable[[str], Iterable[Found]]
"""What finds identifiers in a text besides the rules, as `tagger.Tagger.find` does."""

PATTERNS = (*LABELLED, *NUMBERS, *CONTACTS, *PLACES, *LEFTOVER)


@dataclass(frozen=True)
class Scrubbed:
    """The text that is left, and what was found where in the original one."""

    text: str
    found: tuple[Found, ...]


def find(
    text: str, known: Known = NOBODY, year: int | None = None, more: Finder | None = None
) -> list[Found]:
    """The identifiers in `text`, in its order, none over another; takes time in proportion to it.

    `known` is what the record says of the person elsewhere. `year` is the one by which a birth year tells
    that somebody is over 89, this year by itself. What `more` finds is added to what rules do.
    """
    read = plain(text)
    found = list(dates.find(read))  # before phone numbers, which may have the same form
    found += [span for pattern in PATTERNS for span in pattern.find(read)]
    found += ages.find(read, year or date.today().year)
    named = [*known.find(read), *names.find(read), *chinese_names.find(read)]
    people = [span for span in named if span.kind is Kind.NAME]
    named += [*names.repeated(read, people), *chinese_names.repeated(read, people)]
    return merged([*found, *named, *(more(text) if more else ())])


def scrub(
    text: str,
    known: Known = NOBODY,
    person: Person | None = None,
    *,
    day_first: bool = False,
    more: Finder | None = None,
) -> Scrubbed:
    """`text` with a tag such as `[NAME]` in place of each identifier.

    With `person`, what is `known` is replaced by their pseudonym, and full dates are moved by their days
    so that intervals stay; `day_first` says that 3/4/2021 is in April. A date that cannot be moved gets
    its tag. `more` is that of `find`.
    """
    found = find(text, known, more=more)
    parts, at = [], 0
    for span in found:
        parts += [text[at : span.start], _replacement(text, span, person, day_first)]
        at = span.end
    return Scrubbed("".join([*parts, text[at:]]), tuple(found))


def _replacement(text: str, span: Found, person: Person | None, day_first: bool) -> str:
    if person is None:
        return span.kind.tag
    if span.recogniser.startswith(RECOGNISER):
        return f"[{person.pseudonym}]"
    if span.kind is Kind.DATE:
        value = plain(text[span.start : span.end])
        return dates.shifted(value, person.days, day_first) or span.kind.tag
    return span.kind.tag
