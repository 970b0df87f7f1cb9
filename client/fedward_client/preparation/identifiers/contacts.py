"""E-mail and web addresses, phone and fax numbers, and addresses of machines."""

import re

from fedward_client.preparation.identifiers.patterns import END, START, Pattern, pattern
from fedward_client.preparation.identifiers.spans import Kind

HOST = r"(?:[A-Za-z0-9](?:-{0,2}[A-Za-z0-9]){0,62}\.){1,8}[A-Za-z]{2,24}"
PATH = r"(?::[0-9]{1,5})?(?:[/?#][A-Za-z0-9._~:/?#@!$&'*+,;=%-]{0,2000})?"
TOP = r"(?:com|org|net|edu|gov|mil|info|health|io|eu|de|at|ch|uk|cn|us|fr|hk|tw|nhs)"
DIGITS = r"[+(]{0,2}[0-9](?:[ ()./-]{0,3}[0-9]){%d,%d}"
EXTENSION = r"(?: ?(?:x|ext\.?|extension|Durchwahl|转) ?[0-9]{1,6})?"

_PHONE = (
    r"(?:tele)?phone|tel|cell|mobile|pager|bleep|callback|(?:work|home) phone|"
    r"telefon|handy|mobil|rufnummer|durchwahl|festnetz|funk|联系电话|电话号?码?|手机号?码?|座机|联系方式"
)
_FAX = r"(?:tele)?fax(?:ed)?|传真"
_BETWEEN = r"(?:[- ]?(?:no|nr|number|nummer)\b|号码?)?\.? ?[:#]?(?: (?:is|on|at|to|unter)\b|为|是)? ?(?:\([a-zA-Z]{1,10}\) ?)?"


def _labelled(kind: Kind, name: str, labels: str, least: int) -> Pattern:
    value = rf"(?P<value>{DIGITS % (least - 1, 15)}{EXTENSION})"
    return Pattern(kind, name, re.compile(rf"{START}(?i:(?:{labels}){_BETWEEN}){value}{END}"))


CONTACTS = (
    Pattern(
        Kind.EMAIL,
        "e-mail",
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9À-ÿ_%+'-](?:\.?[A-Za-z0-9À-ÿ_%+'-]){0,80}"
            rf" {{0,2}}(?:@|\((?:at|AT)\)|\[(?:at|AT)\]) {{0,2}}{HOST}"
        ),
    ),
    Pattern(Kind.URL, "URL", re.compile(r"(?i:https?|ftp|sftp)://[^\s<>\"，。、；）]{1,2000}")),
    Pattern(Kind.URL, "web address", re.compile(rf"{START}www\.{HOST}{PATH}")),
    Pattern(
        Kind.URL,
        "host name",
        re.compile(
            r"(?<![A-Za-z0-9@._-])(?:[a-z0-9](?:-{0,2}[a-z0-9]){0,62}\.){1,5}" + TOP + END + PATH
        ),
    ),
    pattern(
        Kind.IP,
        "IPv4",
        r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})",
    ),
    pattern(Kind.IP, "IPv6", r"(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"),
    pattern(
        Kind.IP,
        "short IPv6",
        r"[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){1,6}::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,5})?",
    ),
    pattern(Kind.DEVICE, "MAC", r"[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}"),
    _labelled(Kind.FAX, "fax label", _FAX, 5),
    _labelled(Kind.PHONE, "phone label", _PHONE, 5),
    _labelled(
        Kind.PHONE, "call", r"call(?:ed)?(?: (?:on|at|back on))?|contact|ext|anruf unter|致电", 6
    ),
    Pattern(
        Kind.PHONE,
        "international phone",
        re.compile(
            r"(?<![0-9A-Za-z+])(?:\+|00)[1-9](?:[ ()./-]{0,3}[0-9]){7,14}(?![0-9])" + EXTENSION
        ),
    ),
    Pattern(
        Kind.PHONE,
        "US phone",
        re.compile(
            rf"{START}(?:1[ .-])?\(?[1-9][0-9]{{2}}(?:\) ?|[ .-])[0-9]{{3}}[ .-][0-9]{{4}}{EXTENSION}{END}"
        ),
    ),
    Pattern(
        Kind.PHONE,
        "national phone",
        re.compile(
            r"(?<![0-9A-Za-z.,/-])\(?0[1-9][0-9]{0,4}(?:\)[ /-]{0,2}| ?[ /-] ?)[0-9](?:[ -]?[0-9]){4,9}(?![0-9/.]{1,2}[0-9])"
            + END
        ),
    ),
    Pattern(
        Kind.PHONE,
        "phone nearby",
        re.compile(
            rf"{START}(?i:fax|phone|call|ring|text|reach|anruf|tel|erreichbar)[^\n.:;0-9+(]{{0,30}} "
            rf"(?P<value>{DIGITS % (6, 15)}){END}"
        ),
    ),
    pattern(Kind.PHONE, "phone with points", r"0[1-9][0-9]?\.[0-9]{3,4}\.[0-9]{4}"),
    pattern(Kind.PHONE, "Chinese mobile", r"1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}"),
    pattern(Kind.PHONE, "Chinese landline", r"0[1-9][0-9]{1,2}-?[0-9]{7,8}"),
)
