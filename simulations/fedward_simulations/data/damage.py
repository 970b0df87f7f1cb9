"""What happens to texts on their way into a file: kinds of damage, each drawn from a seed.

Each takes a text and a generator and gives the damaged text. Where a kind cannot touch a text (a
single word has no order to lose), it gives the text as it was.
"""

import base64
import re
from collections.abc import Callable

import numpy as np

from fedward_simulations.data import foreign

Damage = Callable[[str, np.random.Generator], str]

OCR_SHARE = 0.18
"""The share of words that a bad scan gets wrong."""

CONFUSIONS = (
    ("rn", "m"),
    ("m", "rn"),
    ("l", "1"),
    ("i", "l"),
    ("O", "0"),
    ("o", "0"),
    ("cl", "d"),
    ("d", "cl"),
    ("e", "c"),
    ("c", "e"),
    ("h", "li"),
    ("vv", "w"),
    ("w", "vv"),
    ("S", "5"),
    ("B", "8"),
    ("g", "9"),
    ("t", "f"),
    ("u", "ii"),
    ("a", "o"),
    ("n", "ri"),
)
"""What is taken for what in a scan of print."""

NOTICES = (
    "We use cookies to improve your experience on our website. By continuing you accept our use of "
    "cookies. Accept all | Manage preferences",
    "All rights reserved. No part of this document may be reproduced without prior written consent.",
    "CONFIDENTIALITY NOTICE: this message is intended only for the person to whom it is addressed. "
    "If you have received it in error, please delete it and tell the sender.",
    "Home | About us | Contact | Sitemap | Terms of use | Privacy policy",
    "Skip to main content. Share this page: Facebook Twitter LinkedIn E-mail Print",
    "Subscribe to our newsletter. You can unsubscribe at any time by following the link in the footer.",
    "This page was generated automatically. Do not reply to this e-mail. Printed on {date}.",
    "Department of Internal Medicine * Tel. 555-0{number} * Fax 555-1{number} * www.example.org",
    "The information on this site is no substitute for professional advice. Use at your own risk.",
    "Back to top. Previous page. Next page. Was this page helpful? Yes No",
)
HEADINGS = (
    "Introduction",
    "Methods",
    "Results",
    "Discussion",
    "References",
    "Appendix",
    "Preface",
    "Index",
    "List of tables",
    "Glossary",
    "Summary",
    "Contents",
)
ENCODINGS = ("latin-1", "cp1252", "cp437", "mac-roman")


def ocr(text: str, generator: np.random.Generator) -> str:
    """A bad scan: letters taken for others, words split, words run together."""
    words = text.split(" ")
    out: list[str] = []
    for word in words:
        drawn = generator.random()
        if drawn < OCR_SHARE:
            word = _confused(word, generator)
        elif drawn < 1.4 * OCR_SHARE and len(word) > 4:
            cut = int(generator.integers(2, len(word) - 1))
            word = f"{word[:cut]} {word[cut:]}"
        if out and drawn > 1 - 0.4 * OCR_SHARE:
            out[-1] += word
        else:
            out.append(word)
    return " ".join(out)


def _confused(word: str, generator: np.random.Generator) -> str:
    fitting = [(old, new) for old, new in CONFUSIONS if old in word]
    for index in generator.permutation(len(fitting))[:2]:
        old, new = fitting[index]
        word = word.replace(old, new, 1)
    return word


def truncated(text: str, generator: np.random.Generator) -> str:
    """Ends within a word, after a third to nine tenths of the text."""
    cut = int(len(text) * generator.uniform(0.33, 0.9))
    while 0 < cut < len(text) and not (text[cut - 1].isalnum() and text[cut].isalnum()):
        cut -= 1
    return text[:cut] or text


def boilerplate(text: str, generator: np.random.Generator) -> str:
    """Headers, footers, notices or a table of contents, with little of the text among them."""
    if generator.random() < 0.3:
        page, lines = 1, []
        for index in generator.permutation(len(HEADINGS))[:7]:
            lines.append(f"{HEADINGS[index]} {'.' * int(generator.integers(4, 20))} {page}")
            page += int(generator.integers(1, 30))
        return "\n".join(lines)
    drawn = [NOTICES[i] for i in generator.permutation(len(NOTICES))[: generator.integers(2, 4)]]
    filled = [
        notice.format(
            date=f"{generator.integers(1, 13)}/{generator.integers(1, 29)}/2024",
            number=generator.integers(100, 1000),
        )
        for notice in drawn
    ]
    return "\n".join([filled[0], text[: int(generator.integers(0, 60))], *filled[1:]])


def language(text: str, generator: np.random.Generator) -> str:
    """Sentences of another language about as long as the text: none of it is left."""
    sentences = foreign.SENTENCES[str(generator.choice(sorted(foreign.SENTENCES)))]
    out: list[str] = []
    for index in generator.permutation(len(sentences)):
        out.append(sentences[index])
        if sum(map(len, out)) >= len(text):
            break
    return " ".join(out)


def mojibake(text: str, generator: np.random.Generator) -> str:
    """UTF-8 read as another encoding; a plain English text is typeset first, or has accents."""
    typeset = re.sub(r"(\w)'(\w)", "\\1’\\2", text).replace(" - ", " – ").replace('"', "”")
    marked = "".join(
        {"e": "é", "a": "ä", "o": "ö", "u": "ü", " ": "\u00a0"}.get(c, c)
        if generator.random() < 0.12
        else c
        for c in typeset
    )
    wrong = str(generator.choice(ENCODINGS))
    return marked.encode("utf-8").decode(wrong, "replace")


def repeated(text: str, generator: np.random.Generator) -> str:
    """A part of the text again and again, as a loop or a stuck template writes it."""
    words = text.split()
    size = int(generator.integers(1, 9))
    start = int(generator.integers(0, max(1, len(words) - size)))
    part = " ".join(words[start : start + size])
    again = " ".join([part] * int(generator.integers(4, 14)))
    return f"{' '.join(words[:start])} {again}".strip()


def shuffled(text: str, generator: np.random.Generator) -> str:
    """The words in another order."""
    words = text.split()
    return " ".join(words[index] for index in generator.permutation(len(words)))


def markup(text: str, generator: np.random.Generator) -> str:
    """Residue of HTML, wiki text, RTF or LaTeX around and within the words."""
    style = int(generator.integers(4))
    opened, closed = (
        ('<span class="c12" style="font-size:9pt">', "</span>"),
        ("{{cell|align=left|", "}}"),
        ("{\\rtlch\\fcs1 \\af0 \\ltrch\\fcs0 ", "}\\par"),
        ("\\textbf{\\small ", "}\\\\"),
    )[style]
    space = ("&nbsp;", "&lt;br/&gt;", "\\~", "~\\hspace{2pt}")[style]
    words = [
        f"{opened}{word}{closed}" if generator.random() < 0.12 else word for word in text.split()
    ]
    joined = "".join(word + (space if generator.random() < 0.2 else " ") for word in words)
    return f"{opened}{joined.strip()}{closed}"


def junk(text: str, generator: np.random.Generator) -> str:
    """Base64, hexadecimal digits or control characters, perhaps after the start of the text."""
    raw = generator.bytes(int(np.clip(len(text), 40, 400)))
    forms = (
        base64.b64encode(raw).decode(),
        raw.hex(),
        raw.decode("latin-1"),
        raw.decode("utf-8", "replace"),
    )
    start = text[: int(generator.integers(0, 40))] if generator.random() < 0.5 else ""
    return f"{start} {forms[int(generator.integers(len(forms)))]}".strip()


KINDS: dict[str, Damage] = {
    "ocr": ocr,
    "truncated": truncated,
    "boilerplate": boilerplate,
    "language": language,
    "mojibake": mojibake,
    "repeated": repeated,
    "shuffled": shuffled,
    "markup": markup,
    "junk": junk,
}
"""The kinds by name."""
