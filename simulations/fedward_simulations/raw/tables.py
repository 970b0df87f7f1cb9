"""Lists of diagnoses and notes: CSV and TSV in the encodings that wards have, XLSX, Parquet."""

import csv
import io
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import polars as pl

from fedward_simulations.raw.items import Item
from fedward_simulations.raw.ward import Expected, Ward, place

ROWS = 12
KINDS = ("csv", "tsv", "xlsx", "parquet")
SHEETS = ("North", "Süd")
WARDS = {
    "utf-8": "Cardiology 4 West",
    "utf-8-sig": "Innere Medizin, Station Süd",
    "utf-16": "内科一病区",
    "gb18030": "内科一病区，住院部三楼",
    "cp1252": "Chirurgie für Männer, Gebäude Südflügel, größere Ambulanz, Müdigkeit",
}
"""Encodings of CSV and TSV, and the name of a ward that is written in each."""

HEADERS = (
    ("patient_id", "date", "icd_code", "description", "type"),
    ("mrn", "chartdate", "icd10", "note_text", "category"),
    ("subject_id", "note_date", "concept_code", "report", "kind"),
)


def lists(ward: Ward, draw: random.Random, kind: str, items: Sequence[Item]) -> None:
    """The items in files of about a dozen rows."""
    rest = list(items)
    while rest:
        size = draw.randint(ROWS // 3, ROWS)
        taken, rest = rest[:size], rest[size:]
        name = f"{place(draw, taken[0].day)}/list-{len(rest):05d}.{kind}"
        write = {"xlsx": _excel, "parquet": _parquet}.get(kind, _csv)
        data, places = write(draw, kind, taken)
        ward.put(kind, name, data, map(Expected.of, taken, places))


def _rows(header: Sequence[str], items: Sequence[Item], ward: str) -> Iterator[list[str]]:
    yield [*header, "ward"]
    for one in items:
        yield [one.patient.number, one.day.isoformat(), one.code, one.text, one.kind, ward]


def _csv(draw: random.Random, kind: str, items: Sequence[Item]) -> tuple[bytes, list[str]]:
    fitting = [name for name in WARDS if _fits(name, items)]
    encoding = draw.choice(fitting)
    separator = "\t" if kind == "tsv" else draw.choice((",", ";", "|"))
    out = io.StringIO()
    rows = csv.writer(out, delimiter=separator, lineterminator=draw.choice(("\n", "\r\n")))
    rows.writerows(_rows(draw.choice(HEADERS), items, WARDS[encoding]))
    line, places = 1, []
    for one in items:
        line += 1 + one.text.count("\n")
        places.append(f"line {line}")
    return out.getvalue().encode(encoding), places


def _fits(encoding: str, items: Sequence[Item]) -> bool:
    try:
        for one in items:
            one.text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _excel(draw: random.Random, _: str, items: Sequence[Item]) -> tuple[bytes, list[str]]:
    """In two sheets, if there is enough for two."""
    import xlsxwriter

    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_urls": False})
    book.set_properties({"created": datetime(2024, 1, 1, tzinfo=UTC)})
    half = len(items) // 2
    places = []
    for name, part in zip(SHEETS, (items[:half], items[half:]), strict=True):
        if part:
            sheet = book.add_worksheet(name)
            for at, row in enumerate(_rows(draw.choice(HEADERS), part, WARDS["utf-8"])):
                for column, value in enumerate(row):
                    sheet.write_string(at, column, value)
            places += [f"sheet {name!r}, row {at + 2}" for at in range(len(part))]
    book.close()
    return out.getvalue(), places


def _parquet(draw: random.Random, _: str, items: Sequence[Item]) -> tuple[bytes, list[str]]:
    header, *rows = _rows(draw.choice(HEADERS), items, WARDS["utf-8"])
    out = io.BytesIO()
    pl.DataFrame(rows, schema=header, orient="row").write_parquet(out)
    return out.getvalue(), [f"record {number}" for number in range(1, len(rows) + 1)]
