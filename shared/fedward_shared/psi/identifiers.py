"""How identifiers are written, so that the same person has the same one with every party.

A charter names a rule; each works on a whole identifier, and the parts of one that has several are
written one by one and joined. What a rule cannot read is refused and never guessed.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from fedward_shared.errors import AlignmentError

SEPARATOR = "\x1f"
"""Between the parts of an identifier: a control character, which no rule leaves in a part."""
DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%Y%m%d", "%Y/%m/%d")
"""Years first, or the dotted European order: what cannot be read in two ways."""


def _text(value: str) -> str:
    """NFKC, white space as single spaces."""
    return " ".join(unicodedata.normalize("NFKC", value).split())


def _name(value: str) -> str:
    """Without case and accents; hyphens, apostrophes and full stops are gaps."""
    bare = unicodedata.normalize("NFKD", _text(value).casefold())
    letters = "".join(c for c in bare if not unicodedata.combining(c))
    return " ".join(re.sub(r"[-'’.`]", " ", letters).split())


def _number(value: str) -> str:
    """Letters and digits alone, in upper case: national and account numbers, however grouped."""
    return "".join(c for c in _text(value).upper() if c.isalnum())


def _email(value: str) -> str:
    return _text(value).casefold()


def _date(value: str) -> str:
    """ISO 8601."""
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(_text(value), form).date().isoformat()
        except ValueError:
            continue
    raise ValueError(value)


RULES: dict[str, Callable[[str], str]] = {
    "exact": lambda value: value,
    "text": _text,
    "name": _name,
    "number": _number,
    "email": _email,
    "date": _date,
}


def normalised(columns: Sequence[Sequence[str]], rules: Sequence[str]) -> list[bytes]:
    """The identifier of each row, of one column for each of `rules`.

    Raises AlignmentError, which names rows and not what is in them, for parts that are empty or that
    their rule cannot read, and for identifiers that stand in several rows.
    """
    made = [
        _column(values, rule, number)
        for number, (values, rule) in enumerate(zip(columns, rules, strict=True), start=1)
    ]
    whole = [SEPARATOR.join(parts).encode() for parts in zip(*made, strict=True)]
    counts = Counter(whole)
    if len(counts) < len(whole):
        rows = [row for row, identifier in enumerate(whole, start=1) if counts[identifier] > 1]
        raise AlignmentError(
            f"{len(rows)} rows have an identifier that another one has, too ({_said(rows)}): keep one "
            "row for each, or make the identifier longer"
        )
    return whole


def _column(values: Sequence[str], rule: str, number: int) -> list[str]:
    made, wrong = [], []
    for row, value in enumerate(values, start=1):
        try:
            part = RULES[rule](value)
        except ValueError:
            part = ""
        if not part or SEPARATOR in part:
            wrong.append(row)
        made.append(part)
    if wrong:
        raise AlignmentError(
            f"column {number} of the identifier: the rule {rule!r} cannot read {len(wrong)} rows "
            f"({_said(wrong)})"
        )
    return made


def _said(rows: Sequence[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:5])
    return f"rows {shown} …" if len(rows) > 5 else f"rows {shown}"
