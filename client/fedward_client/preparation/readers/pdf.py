"""PDF: the text of each page. A page without any is said to be one: most likely it was scanned.

Pages are read as they are laid out, so that the rows of a table stay rows. Where a gutter goes down a
page with prose on both sides, the left column comes before the right one.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from fedward_client.preparation.documents import Found, Origin
from fedward_client.preparation.readers import bounded
from fedward_shared.errors import Unreadable

NAME, VERSION = "pdf", 1
ENDINGS: tuple[str, ...] = (".pdf",)
MOST_PAGES = 10_000
GUTTER = 3
"""Spaces between two columns, at least."""

WORDS_OF_PROSE = 4
"""Words that a line of prose has on average in a column: a cell of a table has fewer."""

LINES_OF_PROSE = 6


def takes(head: bytes) -> bool:
    """Its header may have something before it."""
    return b"%PDF-" in head[:1024]


def read(path: Path, origin: Origin) -> Iterator[Found]:
    """Page by page."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with path.open("rb") as file:
        _check_end(path)
        book = pypdf.PdfReader(file)
        if book.is_encrypted and not book.decrypt(""):
            raise Unreadable("is encrypted; remove its password first")
        count = len(book.pages)
        if not 0 < count <= MOST_PAGES:
            raise Unreadable(f"has {count:,} pages; from 1 to {MOST_PAGES:,} are read")
        for number, page in enumerate(book.pages, start=1):
            text = _in_columns(page.extract_text(extraction_mode="layout"))
            place = f"page {number}"
            if text.strip():
                yield origin.document(place, text, kind="page")
            elif _has_images(page):
                yield origin.remark(place, "an image without text: scanned, and not recognised")
            else:
                yield origin.remark(place, "no text")


def _check_end(path: Path) -> None:
    """pypdf would make of a file that was cut off what is left of it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - bounded.SAMPLE))
        if b"%%EOF" not in file.read():
            raise Unreadable("is cut off: no %%EOF at its end")


def _has_images(page: object) -> bool:
    resources = page.get("/Resources") if isinstance(page, dict) else None
    objects = resources.get_object().get("/XObject") if resources is not None else None
    return bool(objects and objects.get_object())


def _in_columns(laid_out: str) -> str:
    """The lines of a page, column after column where it has two of prose."""
    lines = [line.rstrip() for line in laid_out.splitlines()]
    full = [line for line in lines if line.strip()]
    at = _gutter(full)
    if at is None:
        return _squeezed(lines)
    sides = [[line[:at] for line in lines], [line[at:] for line in lines]]
    return "\n\n".join(_squeezed(side) for side in sides)


def _gutter(lines: list[str]) -> int | None:
    """Where the right column begins, if nearly every line is blank before it and both hold prose."""
    width = max(map(len, lines), default=0)
    if len(lines) < LINES_OF_PROSE:
        return None
    for at in sorted(range(width // 4, 3 * width // 4), key=lambda at: abs(at - width // 2)):
        crossing = sum(bool(line[max(0, at - GUTTER) : at].strip()) for line in lines)
        if (
            crossing == 0
            and _prose(line[:at] for line in lines)
            and _prose(line[at:] for line in lines)
        ):
            return at
    return None


def _prose(side: Iterator[str]) -> bool:
    words = [len(part.split()) for part in side if part.strip()]
    return len(words) >= LINES_OF_PROSE and sum(words) >= WORDS_OF_PROSE * len(words)


def _squeezed(lines: list[str]) -> str:
    """Without the space that only lays out: a tab between cells, one empty line between paragraphs."""
    text = "\n".join(re.sub(r" {2,}", "\t", line.strip()) for line in lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
