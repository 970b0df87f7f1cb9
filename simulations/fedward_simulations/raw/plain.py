"""Plain text in the encodings that it lies about in."""

import random
from collections.abc import Sequence

from fedward_simulations.raw.items import Item
from fedward_simulations.raw.ward import Expected, Ward, place

ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "gb18030", "cp1252")
ENDINGS = (".txt", ".txt", ".text", ".md")


def texts(ward: Ward, draw: random.Random, notes: Sequence[Item]) -> None:
    """A file for each note."""
    for number, one in enumerate(notes):
        ends = draw.choice(("\n", "\r\n"))
        encoding = draw.choice([name for name in ENCODINGS if _says_itself(one.text, name)])
        data = one.text.replace("\n", ends).encode(encoding)
        name = f"{place(draw, one.day)}/note-{number:05d}{draw.choice(ENDINGS)}"
        where = f"lines 1 to {one.text.count(chr(10)) + 1}"
        ward.put(
            "plain", name, data, [Expected(where, one.text, {}, "exact", one.name, one.planted)]
        )


def _says_itself(text: str, encoding: str) -> bool:
    """Whether it can be written so, and, without a mark, is a text that people would write so."""
    if encoding == "gb18030":
        return "的" in text or "，" in text
    if encoding == "cp1252":
        return not text.isascii() and all(c in SOUTHERN or c.isascii() for c in text)
    return True


SOUTHERN = frozenset("äöüßÄÖÜéèêàâçôîïùûñáíóúÉ¿¡°µ")
