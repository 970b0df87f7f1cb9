"""Clinical texts with planted identifiers, of which it is known where they stand.

Two halves that share no template; the held-out one has two locales of its own. The rules of
`fedward_client.preparation.identifiers` were written with the development half at hand, and not changed
after what they find was measured on the held-out one. Values are Faker's; numbers with a check digit
are made here.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from fedward_client.preparation.identifiers import checks
from fedward_client.preparation.identifiers.spans import Found, Kind
from fedward_shared.errors import MissingExtra
from fedward_simulations.data.planted_templates import DEVELOPMENT, HELD_OUT, Template

SLOT = re.compile(r"\{([a-z_]{2,20})\}")
LOCALES = {
    True: {"en": ("en_US", "en_IN", "en_NG"), "de": ("de_DE", "de_CH"), "zh": ("zh_CN",)},
    False: {
        "en": ("en_US", "en_GB", "en_AU", "en_IE", "en_CA", "en_NZ"),
        "de": ("de_DE", "de_AT", "de_CH"),
        "zh": ("zh_CN",),
    },
}
LAST = datetime(2026, 1, 1)
DATES = (date(1966, 1, 1), LAST.date())
"""Between which dates lie, whatever the day is."""


class Planted(NamedTuple):
    """An identifier in a text."""

    kind: Kind
    start: int
    end: int


@dataclass(frozen=True)
class Text:
    """A text, the identifiers in it, its language, and the names that the record has of the patient."""

    text: str
    planted: tuple[Planted, ...]
    language: str
    patient: tuple[str, ...] = ()


@dataclass
class Score:
    """What was found in many texts. An identifier is if all of its letters and digits are covered."""

    planted: Counter[Kind] = field(default_factory=Counter)
    stayed: Counter[Kind] = field(default_factory=Counter)
    found: Counter[Kind] = field(default_factory=Counter)
    wrong: Counter[Kind] = field(default_factory=Counter)
    texts: int = 0
    characters: int = 0
    letters: int = 0
    lost: int = 0

    def add(self, text: Text, spans: Iterable[Found]) -> None:
        """One text and what was found in it."""
        spans = list(spans)
        self.texts += 1
        self.characters += len(text.text)
        covered = {place for span in spans for place in range(span.start, span.end)}
        secret = {place for value in text.planted for place in range(value.start, value.end)}
        signs = {place for place, character in enumerate(text.text) if character.isalnum()}
        for value in text.planted:
            self.planted[value.kind] += 1
            places = signs.intersection(range(value.start, value.end))
            self.stayed[value.kind] += not places <= covered
        for span in spans:
            self.found[span.kind] += 1
            self.wrong[span.kind] += secret.isdisjoint(range(span.start, span.end))
        self.letters += len(signs - secret)
        self.lost += len((signs & covered) - secret)

    def share_found(self, kind: Kind) -> float:
        """Recall."""
        return 1 - self.stayed[kind] / max(1, self.planted[kind])

    def share_wrong(self, kind: Kind) -> float:
        """Finds in which there is no identifier at all: 1 - precision."""
        return self.wrong[kind] / max(1, self.found[kind])


def texts(held_out: bool, copies: int, seed: int) -> Iterator[Text]:
    """Each template of a half `copies` times, with other values each time.

    Raises MissingExtra without `faker`.
    """
    return filled(HELD_OUT if held_out else DEVELOPMENT, LOCALES[held_out], copies, seed)


def filled(
    templates: Iterable[Template],
    locales: Mapping[str, Sequence[str]],
    copies: int,
    seed: int,
    named_in: Sequence[str] = (),
) -> Iterator[Text]:
    """Each template `copies` times, its values from one of its language's `locales`; half of the texts
    name people as in one of `named_in`, if there are any.

    Raises MissingExtra without `faker`.
    """
    try:
        from faker import Faker
    except ImportError as error:
        raise MissingExtra(
            "Faker is not installed: pip install 'fedward-simulations[data]'"
        ) from error
    randomness = random.Random(seed)  # noqa: S311 (invented values)
    for template in templates:
        for _ in range(copies):
            fake = people = Faker(randomness.choice(locales[template.language]))
            fake.seed_instance(randomness.getrandbits(32))
            if named_in and template.language != "zh" and randomness.random() < 0.5:
                people = Faker(randomness.choice(named_in))
                people.seed_instance(randomness.getrandbits(32))
            yield _filled(template, _Values(fake, people, randomness, template.language))


def _filled(template: Template, values: "_Values") -> Text:
    parts: list[str] = []
    planted: list[Planted] = []
    at = length = 0
    for slot in SLOT.finditer(template.text):
        before = template.text[at : slot.start()]
        kind, value = values.of(slot[1])
        start = length + len(before)
        length = start + len(value)
        planted.append(Planted(kind, start, length))
        parts += [before, value]
        at = slot.end()
    whole = "".join([*parts, template.text[at:]])
    return Text(whole, tuple(planted), template.language, values.patient())


class _Values:
    """The values of one text: a person who is named twice has the same name."""

    def __init__(self, fake: Any, people: Any, randomness: random.Random, language: str) -> None:
        self._fake, self._named, self._random = fake, people, randomness
        self._people: dict[str, tuple[str, str]] = {}
        self._between = "" if language == "zh" else " "
        self._language = language

    def of(self, slot: str) -> tuple[Kind, str]:
        """The kind of a slot of a template, and a value for it."""
        who, _, part = slot.partition("_")
        if who in ("patient", "doctor", "relative", "nurse"):
            return Kind.NAME, self._name(who, part)
        kind, make = MAKERS[slot]
        return kind, make(self._fake, self._random)

    def patient(self) -> tuple[str, ...]:
        """As a header has it: HL7 and DICOM write `Doe^Jane`."""
        first, last = self._people.get("patient", ("", ""))
        return (f"{last}^{first}",)

    def _name(self, who: str, part: str) -> str:
        if who not in self._people:
            self._people[who] = (self._named.first_name(), self._named.last_name())
        first, last = self._people[who]
        if self._language == "zh":
            return last if part == "last" else last + first
        return {
            "": f"{first} {last}",
            "last": last,
            "first": first,
            "sorted": f"{last}, {first}",
            "capitals": f"{last.upper()}, {first.upper()}",
            "initial": f"{first[0]}. {last}",
        }[part]


def _number(fake: Any, form: str) -> str:
    return str(fake.numerify(form))


def _checked(form: str, check: Callable[[str], bool]) -> Callable[[Any, random.Random], str]:
    """A number of that form whose check digit is right."""

    def make(fake: Any, _: random.Random) -> str:
        while True:
            number = str(fake.bothify(form, letters="ABCDEFGHKLMNPRSTVWXYZ"))
            if check(number):
                return number

    return make


def _resident(fake: Any, _: random.Random) -> str:
    start = f"{_number(fake, '%#####')}{fake.date('%Y%m%d', LAST)}{_number(fake, '###')}"
    start = "11" + start[2:]
    return next(start + c for c in checks.RESIDENT_CHECK if checks.resident(start + c))


def _date(form: str) -> Callable[[Any, random.Random], str]:
    def make(fake: Any, _: random.Random) -> str:
        day = fake.date_between(*DATES)
        return (
            str(day.strftime(form)) if "年" not in form else f"{day.year}年{day.month}月{day.day}日"
        )

    return make


def _german_date(fake: Any, _: random.Random) -> str:
    day = fake.date_between(*DATES)
    months = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
    return f"{day.day}. {months.split()[day.month - 1]} {day.year}"


def _address(fake: Any, _: random.Random) -> str:
    return str(fake.address())


MAKERS: dict[str, tuple[Kind, Callable[[Any, random.Random], str]]] = {
    "date_iso": (Kind.DATE, _date("%Y-%m-%d")),
    "date_us": (Kind.DATE, _date("%m/%d/%Y")),
    "date_short": (Kind.DATE, _date("%d/%m/%y")),
    "date_dots": (Kind.DATE, _date("%d.%m.%Y")),
    "date_dots_short": (Kind.DATE, _date("%d.%m.%y")),
    "date_words": (Kind.DATE, _date("%B %d, %Y")),
    "date_words_uk": (Kind.DATE, _date("%d %B %Y")),
    "date_month": (Kind.DATE, _date("%B %Y")),
    "date_abbreviated": (Kind.DATE, _date("%d-%b-%Y")),
    "date_day": (Kind.DATE, _date("%d.%m.")),
    "date_german": (Kind.DATE, _german_date),
    "date_chinese": (Kind.DATE, _date("年")),
    "date_slashes": (Kind.DATE, _date("%Y/%m/%d")),
    "date_compact": (Kind.DATE, _date("%Y%m%d")),
    "phone": (Kind.PHONE, lambda fake, _: str(fake.phone_number())),
    "fax": (Kind.FAX, lambda fake, _: str(fake.phone_number())),
    "phone_us": (Kind.PHONE, lambda fake, _: _number(fake, "(2##) %##-####")),
    "phone_landline": (Kind.PHONE, lambda fake, _: _number(fake, "0%%-%#######")),
    "email": (Kind.EMAIL, lambda fake, _: str(fake.ascii_email())),
    "url": (Kind.URL, lambda fake, _: str(fake.uri())),
    "address": (Kind.PLACE, _address),
    "town": (Kind.PLACE, lambda fake, _: str(fake.city())),
    "mrn": (Kind.RECORD, lambda fake, _: _number(fake, "%#######")),
    "mrn_letters": (Kind.RECORD, lambda fake, _: str(fake.bothify("??-#####", letters="ABCXYZ"))),
    "member": (Kind.INSURANCE, lambda fake, _: str(fake.bothify("???#########", letters="ABCXYZ"))),
    "ssn": (Kind.NATIONAL, _checked("%##-##-####", checks.ssn)),
    "nhs": (Kind.NATIONAL, _checked("%## ### ####", checks.nhs)),
    "nhs_bare": (Kind.NATIONAL, _checked("%#########", checks.nhs)),
    "kvnr": (Kind.INSURANCE, _checked("?#########", checks.kvnr)),
    "svnr": (Kind.INSURANCE, _checked("%### 1504##", checks.svnr)),
    "ahv": (Kind.NATIONAL, _checked("756.####.####.##", checks.ahv)),
    "tax": (Kind.NATIONAL, _checked("%# ### ### ###", checks.tax_id)),
    "resident": (Kind.NATIONAL, _resident),
    "iban": (Kind.ACCOUNT, lambda fake, _: str(fake.iban())),
    "card": (Kind.ACCOUNT, lambda fake, _: str(fake.credit_card_number("visa"))),
    "account": (Kind.ACCOUNT, lambda fake, _: _number(fake, "%#######")),
    "licence": (Kind.LICENCE, lambda fake, _: str(fake.bothify("?######", letters="ABCDEF"))),
    "plate_german": (
        Kind.VEHICLE,
        lambda fake, _: str(fake.bothify("??-?? %##", letters="BDEFHKMN")),
    ),
    "plate_chinese": (Kind.VEHICLE, lambda fake, _: str(fake.bothify("京?%####", letters="ABC"))),
    "vin": (Kind.VEHICLE, _checked("1??CM82633A######", checks.vin)),
    "serial": (Kind.DEVICE, lambda fake, _: str(fake.bothify("??####-###", letters="QRSTU"))),
    "ip": (Kind.IP, lambda fake, _: str(fake.ipv4())),
    "uuid": (Kind.ID, lambda fake, _: str(fake.uuid4())),
    "study": (Kind.ID, lambda fake, _: _number(fake, "%##-###")),
    "old": (Kind.AGE, lambda _, randomness: str(randomness.randint(90, 104))),
}
