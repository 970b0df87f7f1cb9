"""Dates more exact than a year, in the forms of English, German and Chinese texts and of machines."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from fedward_client.preparation.identifiers.patterns import END, START
from fedward_client.preparation.identifiers.spans import Found, Kind

MONTHS = (
    ("january", "januar", "jänner"),
    ("february", "februar", "feber"),
    ("march", "märz", "maerz"),
    ("april",),
    ("may", "mai"),
    ("june", "juni"),
    ("july", "juli"),
    ("august",),
    ("september",),
    ("october", "oktober"),
    ("november",),
    ("december", "dezember"),
)
SHORT = (
    "jan|jän",
    "feb",
    "mar|mrz|mär",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sept?",
    "oct|okt",
    "nov",
    "dec|dez",
)
CHINESE = {c: d for d, c in enumerate("〇一二三四五六七八九")} | {"零": 0}
CENTURY = 100

_NAMES = "|".join([*(name for names in MONTHS for name in names if name != "may"), *SHORT])
_NAMES = _NAMES.replace("|may|", "|")
_MONTH = rf"(?P<name>(?i:{_NAMES})(?![A-Za-zä])\.?|May|MAY)"
"""`may` is a verb as well: in a date it is capitalised."""
_D, _M = r"(?:3[01]|[12][0-9]|0?[1-9])", r"(?:1[0-2]|0?[1-9])"
_Y = r"(?:18|19|20)[0-9]{2}"
_H = "〇零一二三四五六七八九十"
_TH = r"(?:st|nd|rd|th)?"

FULL = tuple(
    (name, re.compile(regex))
    for name, regex in {
        "year first": rf"{START}(?P<y>{_Y})(?P<s>[-/.])(?P<m>{_M})(?P=s)(?P<d>{_D})(?![0-9])",
        "day or month first": (
            rf"(?<![0-9A-Za-z./-])(?P<a>{_D})(?:(?P<s>[/-])(?P<b>{_D})(?P=s)|\. ?(?P<c>{_M})\. ?)"
            rf"(?P<y>{_Y}|[0-9]{{2}})(?![0-9]|[./-][0-9])"
        ),
        "day and month's name": rf"{START}(?P<d>{_D}){_TH}\.?(?: of)?[ -]?{_MONTH},?[ -](?P<y>{_Y}|'?[0-9]{{2}}){END}",
        "month's name and day": rf"{START}{_MONTH}[ -](?P<d>{_D}){_TH},? {{0,2}}(?P<y>{_Y}){END}",
        "Chinese": rf"(?P<y>{_Y}) ?年 ?(?P<m>{_M}) ?月 ?(?P<d>{_D}) ?[日号]?(?![0-9])",
        "compact": r"(?<![0-9A-Za-z.,-])(?P<y>(?:19|20)[0-9]{2})(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12][0-9]|3[01])"
        r"(?=(?:[0-9]{4}(?:[0-9]{2})?)?(?![0-9]))",
    }.items()
)
PARTIAL = tuple(
    (name, re.compile(regex))
    for name, regex in {
        "day of a month": rf"{START}{_D}{_TH}\.?(?: of)?[ -]{_MONTH}{END}",
        "month and day": rf"{START}{_MONTH} {_D}{_TH}{END}(?![.,][0-9]| ?(?:mg|ml|mm|g\b|%))",
        "month of a year": rf"{START}{_MONTH},?[ -](?:of )?(?:{_Y}|'[0-9]{{2}}){END}",
        "month/year": rf"(?<![0-9A-Za-z./-])(?:{_M}[/-]|(?:0[1-9]|1[0-2])\.){_Y}(?![0-9])",
        "year-month": r"(?<![0-9A-Za-z./-])(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])(?![0-9-])",
        "after a word": (
            rf"{START}(?i:on|since|until|till|dated|admitted|discharged|seen|dos|dob)[: ]{{1,2}}"
            rf"(?P<value>{_M}/{_D}|{_D}/{_M})(?![0-9/]|\.[0-9])"
        ),
        "after a German word": (
            rf"{START}(?i:am|vom|ab|seit|bis|zum|der|den|dem)(?: zum| dem)? (?P<value>{_D}\. ?{_M}\.)(?![0-9])"
        ),
        "Chinese month and day": rf"(?<![0-9]){_M} ?月 ?{_D} ?[日号]|(?<![0-9]){_Y} ?年 ?{_M} ?月(?!龄)",
        "Chinese numerals": rf"[{_H}]{{4}}年[{_H}]{{1,3}}月(?:[{_H}]{{1,3}}[日号])?|[{_H}]{{1,2}}月[{_H}]{{1,3}}[日号]",
    }.items()
)


def find(text: str) -> Iterator[Found]:
    """All dates in `text`, which is `plain`."""
    for name, regex in FULL:
        for match in regex.finditer(text):
            if name != "day or month first" or _order(match) is not None:
                yield Found(match.start(), match.end(), Kind.DATE, name)
    for name, regex in PARTIAL:
        for match in regex.finditer(text):
            group = "value" if "value" in regex.groupindex else 0
            yield Found(match.start(group), match.end(group), Kind.DATE, name)


def shifted(text: str, days: int, day_first: bool) -> str | None:
    """The date `text` moved by `days` and written in the same form; None for no full date.

    `day_first` says how 3/4/2021 is meant; a date with points has its day first, one with a 13 says it
    by itself. A year of two digits is of the 100 years that end now.
    """
    for _, regex in FULL:
        match = regex.fullmatch(text)
        if match is None:
            continue
        parts = _parts(match, day_first)
        if parts is None:
            return None
        try:
            moved = date(*(value for value, _ in parts)) + timedelta(days)
        except (ValueError, OverflowError):
            return None
        return _rewritten(match, moved, [group for _, group in parts])
    return None


def _order(match: re.Match[str]) -> tuple[str, str] | None:
    """The groups of month and day where the form says them; ("", "") where it may be either."""
    if match["c"]:
        return "c", "a"
    if int(match["a"]) > 12:
        return ("b", "a") if int(match["b"]) <= 12 else None
    return ("a", "b") if int(match["b"]) > 12 else ("", "")


def _parts(match: re.Match[str], day_first: bool) -> list[tuple[int, str]] | None:
    """Year, month and day, and the group of each."""
    groups = match.re.groupindex
    year = int(match["y"].lstrip("'"))
    if len(match["y"].lstrip("'")) == 2:
        this = date.today().year
        year = this - (this - year) % CENTURY
    if "name" in groups:
        return [(year, "y"), (_month(match["name"]), "name"), (int(match["d"]), "d")]
    month, day = "m", "d"
    if "a" in groups:
        order = _order(match)
        if order is None:
            return None
        month, day = order if order[0] else (("b", "a") if day_first else ("a", "b"))
    return [(year, "y"), (int(match[month]), month), (int(match[day]), day)]


def _month(name: str) -> int:
    word = name.lower().rstrip(".")
    for number, (names, short) in enumerate(zip(MONTHS, SHORT, strict=True), start=1):
        if word in names or re.fullmatch(short, word):
            return number
    raise AssertionError(name)  # the regular expression knows no others


def _rewritten(match: re.Match[str], moved: date, groups: list[str]) -> str:
    """The matched text with the date `moved` in its groups, each as wide as it was."""
    values = dict(zip(groups, (moved.year, moved.month, moved.day), strict=True))
    text, at = "", match.start()
    for group in sorted(groups, key=match.start):
        text += match.string[at : match.start(group)] + _written(match[group], values[group], group)
        at = match.end(group)
    return text + match.string[at : match.end()]


def _written(old: str, value: int, group: str) -> str:
    if group == "name":
        return _named(old, value)
    digits = old.lstrip("'")
    if len(digits) == 2 and group == "y":
        value %= CENTURY
    return old[: len(old) - len(digits)] + (
        f"{value:0{len(digits)}}" if len(digits) > 1 else str(value)
    )


def _named(old: str, month: int) -> str:
    """The month's name as `old` was written: its language, its length, its capitals."""
    word = old.lower().rstrip(".")
    before = MONTHS[_month(old) - 1]
    if word in before:
        language = before.index(word) if len(MONTHS[month - 1]) > before.index(word) else 0
        new = MONTHS[month - 1][language]
    else:
        new = MONTHS[month - 1][0][:3]
    new = (
        new.upper() if old.rstrip(".").isupper() else new.capitalize() if old[0].isupper() else new
    )
    return new + ("." if old.endswith(".") else "")
