"""PDF: guidelines with tables and two columns, letters, and pages that were scanned."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fedward_shared.errors import MissingExtra
from fedward_simulations.raw.items import Item
from fedward_simulations.raw.ward import Expected, Ward, place

SIZE, LINE = 9, 4.5
COLUMNS = (10, 110)
WIDTH = 85
PARAGRAPHS = 7
"""Of each column: they fit on its page."""

PAGE = {"kind": "page"}
SCANNED = "an image without text: scanned, and not recognised"


def book() -> Any:
    """An empty one that says nothing of when it was made. Raises MissingExtra."""
    try:
        from fpdf import FPDF
    except ImportError as error:
        raise MissingExtra(
            "fpdf2 is not installed: pip install 'fedward-simulations[data]'"
        ) from error
    made = FPDF()
    made.set_creation_date(datetime(2024, 1, 1, tzinfo=UTC))
    made.set_font("Helvetica", size=SIZE)
    return made


def letters(ward: Ward, draw: random.Random, notes: Sequence[Item]) -> None:
    """A page for each note that the fonts of every PDF can write."""
    for number, one in enumerate(notes):
        made = book()
        made.add_page()
        made.multi_cell(0, LINE, one.text, align="L")
        name = f"{place(draw, one.day)}/letter-{number:05d}.pdf"
        page = Expected("page 1", one.text, PAGE, "words", one.name, one.planted)
        ward.put("pdf", name, bytes(made.output()), [page])


def writable(one: Item) -> bool:
    """Whether those fonts have all of its characters; a soft hyphen is none."""
    return all(c < "\u0100" for c in one.text) and "\xad" not in one.text


def guidelines(
    ward: Ward, draw: random.Random, count: int, pieces: Sequence[str], drugs: Sequence[str]
) -> None:
    """Of three pages: a table, two columns of prose, and in every third file a scan of a page."""
    prose = [one for one in pieces if one.isascii() and len(one) > 60]
    for number in range(count):
        made, name = book(), f"Guidelines/guideline-{number:05d}.pdf"
        pages = [_table(made, draw, number, drugs), _columns(made, draw, prose)]
        if number % 3 == 0:
            _scan(made, "\n".join(draw.sample(prose, 4)))
            ward.remark(name, "page 3", SCANNED)
        expected = [
            Expected(f"page {at}", text, PAGE, "words", f"guideline {number}, page {at}")
            for at, text in enumerate(pages, start=1)
        ]
        ward.put("pdf", name, bytes(made.output()), expected)


def _table(made: Any, draw: random.Random, number: int, drugs: Sequence[str]) -> str:
    made.add_page()
    title = f"Guideline {number}: medicines and doses"
    made.cell(text=title)
    made.ln(8)
    rows = [("Medicine", "Grade")] + [
        (drug, draw.choice("ABC")) for drug in draw.sample(drugs, min(12, len(drugs)))
    ]
    with made.table(col_widths=(3, 1)) as table:
        for row in rows:
            table.row(row)
    return "\n".join([title, *map(" ".join, rows)])


def _columns(made: Any, draw: random.Random, prose: Sequence[str]) -> str:
    made.add_page()
    sides = []
    for x in COLUMNS:
        sides.append(" ".join(draw.sample(prose, PARAGRAPHS)))
        made.set_xy(x, 15)
        made.multi_cell(WIDTH, LINE, sides[-1], align="L")
    return "\n".join(sides)


def _scan(made: Any, text: str) -> None:
    """A picture of a page."""
    from textwrap import fill

    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (620, 800), 245)
    font = ImageFont.load_default_imagefont()
    ImageDraw.Draw(page).multiline_text((30, 30), fill(text, 90), fill=30, font=font)
    made.add_page()
    made.image(page.rotate(1.2, fillcolor=245), w=190)
