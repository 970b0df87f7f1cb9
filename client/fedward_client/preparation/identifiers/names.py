"""Names in English and German texts: by title, label, relation or role, by a given name, by repetition."""

import re
from collections.abc import Iterable, Iterator

from fedward_client.preparation.identifiers.patterns import START
from fedward_client.preparation.identifiers.spans import Found, Kind
from fedward_client.preparation.identifiers.vocabulary import (
    EPONYM_NOUNS,
    EPONYMS,
    GIVEN,
    NEEDS_SURNAME,
    SURNAMES_TOO,
    is_no_name,
)

LETTER = r"[^\W\d_一-鿿]"
UP = r"[A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĘĚĞĢĪĮİĶĹĽŁŃŅŇŐŒŔŘŚŞŠŢŤŪŮŰŹŻŽ]"
TOKEN = rf"{UP}{LETTER}{{0,30}}(?:['-]{LETTER}{{1,30}}){{0,3}}(?!{LETTER})"
INITIAL = rf"{UP}\.(?:[ -]?{UP}\.)?"
PARTICLE = r"(?:von|van|de|der|den|dem|zu|zur|vom|di|da|del|dos|la|le|bin|ibn|al|el|ten|ter|af|y)"
PART = rf"(?:{INITIAL}|{TOKEN})"
NAME = rf"(?:{PARTICLE} ){{0,2}}{PART}(?:,? (?:{PARTICLE} ){{0,2}}{PART}){{0,4}}"
WORDS = re.compile(rf"{LETTER}{{1,31}}(?:['-]{LETTER}{{1,30}}){{0,3}}")
EPONYM = re.compile(EPONYM_NOUNS)

TITLE = (
    r"(?:Drs?|Pat|Prof|Professor|Mr|Mrs|Ms|Miss|Mx|Master|Sir|Dame|Lord|Lady|Rev|Capt|Sgt|Nurse|Sister|Matron|Midwife|"
    r"DR|MR|MRS|MS|PROF|Doctor|Frau|Fr|Herrn?|Hr|Frl|Schwester|Pfleger|Dres|PD|OA|OÄ|CA|Oberarzt|Oberärztin|Chefarzt|"
    r"Chefärztin|Assistenzarzt|Assistenzärztin|Hausarzt|Hausärztin|Kollege|Kollegin|Kollegen|Familie)"
)
DEGREE = r"(?:Dr|med|univ|Univ|dent|rer|nat|phil|habil|h\.c|Prof|PD|Priv|Doz|Dipl|Ing|Mag|-)"
LABEL = (
    r"(?i:[a-zäöü-]{0,20}names?|from|to|with|(?:patient|full|first|last|family|given|middle|maiden|legal|provider|physician|doctor|mother's|father's)?"
    r"[ '-]?s? ?names?|surname|forename|patient|pt|client|subject|attending|resident|consultant|surgeon|assistant|"
    r"anesthesiologist|anaesthetist|physician|doctor|provider|nurse|author|dictated by|transcribed by|reported by|"
    r"reviewed by|signed(?: by)?|electronically signed(?: by)?|verified by|authori[sz]ed by|requested by|ordered by|"
    r"referring|pcp|gp|next of kin|nok|emergency contact|contact person|contact|guardian|carer|spouse|cc|attn|attention|re|"
    r"vorname|nachname|zuname|familienname|geburtsname|patientin|versicherte[r]?|name des patienten|arzt|ärztin|"
    r"behandelnder arzt|operateur|assistenz|anästhesist|anästhesie|unterschrift|gezeichnet|verfasser|diktiert(?: von)?|"
    r"ansprechpartner|angehörige[r]?|bezugsperson|betreuer|betreuerin|überweiser|hausarzt|hausärztin|oberarzt|z\. ?hd\.?)"
)
BEFORE = (
    r"(?:(?:[Ss]een|[Rr]eviewed|[Ee]xamined|[Aa]ssessed|[Rr]eferred|[Ss]igned|[Dd]ictated|[Oo]rdered|[Pp]erformed|"
    r"[Pp]rescribed|[Aa]ccompanied|[Ii]nterviewed|[Bb]rought in|[Ee]valuated|[Aa]dmitted|[Ss]upervised|[Ww]itnessed|"
    r"[Cc]onsented|[Ww]ritten|[Cc]ompleted|[Dd]ischarged|[Tt]ranscribed|[Cc]ared for|[Tt]reated|[Oo]perated on|[Rr]eported) by|"
    r"(?:[Dd]iscussed|[Ss]poke|[Ss]poken|[Mm]et|[Cc]onsulted|[Cc]onversation|[Aa]ppointment|[Ll]ives|[Ff]ollow-?up|[Cc]all) with|"
    r"[Ss]poke to|[Uu]nder the care of|[Cc]are of|c/o|[Oo]n behalf of|[Dd]ear|[Hh]i|[Hh]ello|[Tt]hank you,?|[Nn]amed|[Cc]alled|"
    r"[Kk]ind regards,?|[Bb]est wishes,?|[Yy]ours sincerely,?|[Rr]egards,?|[Tt]hanks,?|[Cc]heers,?|/s/|"
    r"[Rr]ücksprache mit|(?:[Üü]berwiesen|[Vv]orgestellt|[Uu]ntersucht|[Uu]nterschrieben|[Oo]periert|[Bb]egleitet|[Dd]iktiert|"
    r"[Aa]ufgeklärt|[Bb]etreut|[Bb]ehandelt|[Vv]eranlasst|[Gg]eschrieben) (?:von|durch)|[Gg]ez\.|[Ii]\. ?[AV]\.|[Ll]iebe[r]?|"
    r"[Gg]espräch mit|[Tt]elefonat mit|(?:Zuweisung|Überweisung|Vorstellung|Aufnahme|Entlassung|Behandlung|Betreuung) (?:von|durch)|[Nn]amens|[Gg]enannt)"
)
RELATION = (
    r"(?:wife|husband|son|daughter|mother|father|brother|sister|partner|spouse|carer|caregiver|friend|neighbou?r|"
    r"niece|nephew|aunt|uncle|cousin|grandson|granddaughter|grandmother|grandfather|fianc[ée]e?|guardian|twin)"
)
GERMAN_RELATION = (
    r"(?:Ehefrau|Ehemann|Tochter|Sohn|Mutter|Vater|Bruder|Schwester|Partner|Partnerin|Lebensgefährtin|Lebensgefährte|"
    r"Betreuer|Betreuerin|Nachbarin|Nachbar|Enkel|Enkelin|Nichte|Neffe|Patientin|Patient)"
)
GERMAN_ROLE = (
    r"[A-ZÄÖÜ][a-zäöüß]{0,20}(?:leitung|leiter(?:in)?|arzt|ärztin|pfleger(?:in)?|therapeut(?:in)?|helfer(?:in)?|"
    r"berater(?:in)?|betreuer(?:in)?|assistent(?:in)?|schwester|kraft|angehörige[rn]?|vormund)"
)
AFTER = r"(?:M\.?D\.?|D\.?O\.?|R\.?N\.?|N\.?P\.?|PA-C|Ph\.?D|DNP|FRCP|FRCS|MRCP|FACS|FACP|FACC|MBBS|MBChB|LCSW|LPN|CRNA|DDS|Facharzt|Fachärztin|Oberarzt|Oberärztin|Chefarzt|Chefärztin|Assistenzarzt|Assistenzärztin)"
AGED = r"(?=,? (?:is |was |ist )?(?:an? |eine? )?\(?[1-9][0-9]{0,2}[ -]?(?:year|yo\b|y/o|yr|j[äa]hr|Jahre|[MF]\b)|,? \(?(?i:dob|mrn|geb\.|geboren|\*))"

ANY = {
    "title": rf"{START}{TITLE}\.?(?:[ -]{{1,2}}{DEGREE}\.?){{0,5}} {{1,2}}(?P<value>{NAME})",
    "label": rf"{START}{LABEL} ?: {{0,3}}(?P<value>{NAME})",
    "role": rf"{START}{BEFORE},?[ \n]{{1,3}}(?P<value>{NAME})",
    "relation": rf"{START}(?i:{RELATION}),?(?: is| named| called)?,? \(?(?P<value>{NAME})",
    "head of a record": r"(?:^|(?<=\n))(?P<value>[A-ZÄÖÜ'-]{2,30}, [A-ZÄÖÜ'-]{2,30}(?: [A-Z]\.?)?)(?= {2}|\t|\n)",
    "degree": rf"{START}(?P<value>{NAME}),? {AFTER}(?![A-Za-z])",
}
"""One word is enough."""
TWO = {
    "German relation": rf"{START}{GERMAN_RELATION},?(?: namens)? \(?(?P<value>{NAME})",
    "German role": rf"{START}{GERMAN_ROLE},? (?P<value>{NAME})",
    "subject": (
        rf"(?:^|(?<=\n)|(?<=[.!?] ))(?P<value>{NAME})(?= (?:was|is|has|had|presented|presents|reports|reported|denies|"
        r"complains|complained|attended|attends|underwent|settled|slept|lives|works|agreed|remains|remained|felt|ate|"
        r"states|stated|called|requested|refused|tolerated|appears|arrived|returned|came)\b)"
    ),
    "age": rf"{START}(?P<value>{NAME}){AGED}",
}
"""Nouns are capitalised in German, and words at the beginning of a sentence: two words at least."""
_RULES = {name: re.compile(regex) for name, regex in (ANY | TWO).items()}
_LISTED = re.compile(rf"{START}(?P<value>{NAME})")
_PARTS = re.compile(rf"{INITIAL}|{TOKEN}|{PARTICLE}(?= )")
_GIVEN_UPPER = frozenset(name.upper() for name in GIVEN)


def find(text: str) -> Iterator[Found]:
    """Names in `text`, which is `plain`, without repetitions."""
    for name, regex in _RULES.items():
        for match in regex.finditer(text):
            span = _trimmed(text, match.start("value"), match.end("value"), name == "title")
            if span is not None and (name in ANY or _words(text, span) > 1):
                yield Found(*span, Kind.NAME, name)
    yield from _by_given_name(text)


def repeated(text: str, found: Iterable[Found]) -> Iterator[Found]:
    """The words of names that were `found`, wherever else they stand in `text`."""
    tokens: set[str] = set()
    for span in found:
        for word in WORDS.findall(text[span.start : span.end]):
            if len(word) > 2 and not is_no_name(word) and word not in PARTICLE:
                tokens |= {word, word.upper(), word.title()}
    if not tokens:
        return
    for match in WORDS.finditer(text):
        word = match[0].removesuffix("'s")
        if (
            word in tokens
            and word[0].isupper()
            and not _is_eponym(text, word, match.start() + len(word))
        ):
            yield Found(match.start(), match.start() + len(word), Kind.NAME, "repetition")


def _trimmed(text: str, start: int, end: int, expected: bool = False) -> tuple[int, int] | None:
    """The part of a run of capitalised words up to the first that is no name; None if nothing is left.

    `expected`: after a title, which makes a name of some words.
    """
    last, named = start, False
    for match in _PARTS.finditer(text, start, end):
        word = match[0]
        if is_no_name(word) and not (expected and word.title() in SURNAMES_TOO):
            break
        if word[0].isupper():
            if _is_eponym(text, word, match.end()):
                break
            last = match.end()
            expected = expected or word in GIVEN or word in NEEDS_SURNAME or len(word) == 2
            named = named or not word.endswith(".")
    return (start, last) if named else None


def _words(text: str, span: tuple[int, int]) -> int:
    return len(_PARTS.findall(text[span[0] : span[1]]))


def _by_given_name(text: str) -> Iterator[Found]:
    for match in _LISTED.finditer(text):
        parts = list(_PARTS.finditer(text, match.start(), match.end()))
        for at, part in enumerate(parts):
            word, rest = part[0], parts[at + 1 :]
            first = word.split("-")[0]
            if (
                first not in GIVEN
                and first not in NEEDS_SURNAME
                and not (word.isupper() and word in _GIVEN_UPPER)
            ):
                continue
            start = part.start()
            comma = (
                at > 0
                and text[parts[at - 1].end() : start] == ", "
                and not is_no_name(parts[at - 1][0])
            )
            if comma:  # Smith, John
                start = parts[at - 1].start()
            follows = (
                bool(rest)
                and text[part.end() : rest[0].start()] == " "
                and not is_no_name(rest[0][0])
            )
            if not (comma or follows) and (word in NEEDS_SURNAME or word.isupper()):
                continue
            span = _trimmed(text, start, match.end())
            if span is not None and not _is_eponym(text, word, part.end()):
                yield Found(*span, Kind.NAME, "given name")
            break


def _is_eponym(text: str, word: str, end: int) -> bool:
    """Whether `word`, which ends at `end`, names a disease, a sign or an instrument here."""
    if EPONYM.match(text, end):
        return True
    return word in EPONYMS and text[end : end + 2] in ("'s", "s ")
