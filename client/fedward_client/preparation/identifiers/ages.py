"""Ages over 89, and birth years that say so."""

import re
from collections.abc import Iterator

from fedward_client.preparation.identifiers.patterns import END, START
from fedward_client.preparation.identifiers.spans import Found, Kind

OLDEST = 89
"""Ages up to this one may stay: 45 CFR 164.514(b)(2)(i)(C)."""

_OLD = r"(?P<value>9[0-9]|1[0-2][0-9])"
AGES = re.compile(
    rf"{START}{_OLD}(?=(?:[ -]?(?:years?|yrs?)[ -]?(?:old|of age)?|[ -]?(?:yo|y/o|y\.o\.|j[äa]hrig|Jahre))"
    r"(?:[a-z]{0,2})(?![A-Za-z])| ?岁| ?周岁)"
    rf"|{START}(?i:aged?|alter|年龄)(?: of| von)?[ :]{{0,3}}(?P<labelled>9[0-9]|1[0-2][0-9]){END}"
    r"|(?P<words>(?i:ninety|neunzig|(?:ein|zwei|drei|vier|f[üu]nf|sechs|sieben|acht|neun)undneunzig)"
    r"(?i:[ -](?:one|two|three|four|five|six|seven|eight|nine))?)(?=(?i:[ -]?(?:years?|jahre|jährig)))"
    r"|(?P<chinese>九十[一二三四五六七八九]?|一百(?:零[一二三四五六七八九])?)(?=岁|周岁)"
)
BORN = re.compile(
    r"(?i:born(?: in)?|geb(?:oren|\.)?(?: im Jahr)?|year of birth:?|Jahrgang|Jg\.|Geburtsjahr:?|出生于) ?"
    r"(?P<before>(?:18|19)[0-9]{2})(?![0-9/.-])|(?P<after>(?:18|19)[0-9]{2})(?=年(?:出生|生))"
)


def find(text: str, year: int) -> Iterator[Found]:
    """Ages, and years of birth of whom is older in `year`, in `text`, which is `plain`."""
    for match in AGES.finditer(text):
        group = match.lastgroup or ""
        yield Found(match.start(group), match.end(group), Kind.AGE, "age")
    for match in BORN.finditer(text):
        group = match.lastgroup or ""
        if year - int(match[group]) > OLDEST:
            yield Found(match.start(group), match.end(group), Kind.AGE, "birth year")
