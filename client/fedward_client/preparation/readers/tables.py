"""Tables: CSV and TSV in any encoding that is found out, Excel, and Parquet. A record is a document.

Its text is what the column of texts holds, or, where there is none, all that no field takes, a line
`column: value` for each. CSV goes through Python's own reader: polars takes UTF-8 alone.
"""

import csv
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedward_client.preparation.documents import MOST_CHARACTERS, Found, Origin
from fedward_client.preparation.readers import bounded
from fedward_shared.errors import Unreadable

NAME, VERSION = "tables", 2
ENDINGS: tuple[str, ...] = (".csv", ".tsv", ".tab", ".xlsx", ".parquet")
SEPARATORS = ",;\t|"
MOST_COLUMNS = 4096
BATCH = 256
MOST_UNPACKED = 2**28
"""Of a spreadsheet, which is read as a whole."""

TEXTS = ("text", "note_text", "note", "report", "narrative", "description", "content")
COLUMNS = {
    "unit": ("unit", "patient_id", "patient", "person_id", "subject_id", "subject", "mrn", "pid"),
    "date": ("date", "note_date", "charttime", "chartdate", "datetime", "timestamp"),
    "code": ("code", "icd_code", "icd10", "concept_code", "snomed"),
    "label": ("label", "target", "class"),
    "kind": ("kind", "note_type", "category", "type"),
}
"""Names of columns, in small letters, the first that is there being taken."""

NAMES = (
    "patient_name",
    "name",
    "full_name",
    "last_name",
    "first_name",
    "family_name",
    "given_name",
)
"""Columns with the names of the person whose record it is: all that are there are known of them."""


def takes(head: bytes) -> bool:
    """Of these, Parquet alone says what it is."""
    return head.startswith(b"PAR1")


def read(path: Path, origin: Origin) -> Iterator[Found]:
    """Record by record."""
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        yield from _parquet(path, origin)
    elif head == b"PK\x03\x04":
        yield from _excel(path, origin)
    else:
        yield from _csv(path, origin)


def _csv(path: Path, origin: Origin) -> Iterator[Found]:
    encoding = bounded.encoding(path)
    if encoding != "utf-8":
        yield origin.remark("whole file", f"read as {encoding}")
    csv.field_size_limit(MOST_CHARACTERS)
    with path.open(encoding=encoding, newline="") as file:
        first = next(bounded.lines(file))
        file.seek(0)
        separator = max(SEPARATORS, key=first.count)
        rows = csv.reader(_without_nul(file), delimiter=separator, strict=True)
        try:
            names = next(rows)
            record = _Record(names, origin)
            for row in rows:
                if row:
                    yield from record.read(f"line {rows.line_num}", row)
        except (csv.Error, UnicodeDecodeError) as error:
            what = error.reason if isinstance(error, UnicodeDecodeError) else error
            raise Unreadable(f"line {rows.line_num}: {what}") from None


def _without_nul(file: bounded.Lines[str]) -> Iterator[str]:
    for number, line in enumerate(bounded.lines(file), start=1):
        if "\0" in line:
            raise Unreadable(f"line {number} has NUL characters, which no text has")
        yield line


def _parquet(path: Path, origin: Origin) -> Iterator[Found]:
    import polars as pl

    table = pl.scan_parquet(path, glob=False)
    record, number = _Record(table.collect_schema().names(), origin), 0
    for batch in table.collect_batches(chunk_size=BATCH, maintain_order=True):
        for row in batch.iter_rows():
            number += 1
            yield from record.read(f"record {number}", [_as_text(value) for value in row])


def _excel(path: Path, origin: Origin) -> Iterator[Found]:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > MOST_UNPACKED:
        raise Unreadable(f"unpacks to {unpacked:,} bytes; at most {MOST_UNPACKED:,} are read")
    from fastexcel import read_excel

    book = read_excel(path)
    for name in book.sheet_names:
        sheet = book.load_sheet(name, dtypes="string").to_polars()
        if sheet.width:
            record = _Record(sheet.columns, origin)
            for number, row in enumerate(sheet.iter_rows(), start=2):
                place = f"sheet {name!r}, row {number}"
                yield from record.read(place, [_as_text(value) for value in row])


class _Record:
    """What the columns of one table mean."""

    def __init__(self, names: Sequence[str], origin: Origin) -> None:
        if len(names) > MOST_COLUMNS:
            raise Unreadable(f"has {len(names):,} columns; at most {MOST_COLUMNS:,} are read")
        if len(set(names)) < len(names):
            raise Unreadable("two columns have the same name")
        at = {name.strip().casefold(): place for place, name in reversed([*enumerate(names)])}
        self._names, self._origin = names, origin
        self._names_at = [at[name] for name in NAMES if name in at]
        self._text = next((at[name] for name in TEXTS if name in at), None)
        self._fields = {
            field: at[found]
            for field, known in COLUMNS.items()
            if (found := next((name for name in known if name in at), None)) is not None
        }

    def read(self, place: str, row: Sequence[str]) -> Iterator[Found]:
        """The document of one row, or the remark that it has no text; before it, whose it is."""
        if len(row) != len(self._names):
            raise Unreadable(f"{place}: {len(row)} values under {len(self._names)} columns")
        fields = {name: row[at] for name, at in self._fields.items()}
        named = [("name", row[at]) for at in self._names_at]
        yield from self._origin.person(place, fields.get("unit"), named)
        if self._text is not None:
            text = row[self._text].strip()
        else:
            taken = {*self._fields.values(), *self._names_at}
            pairs = [*zip(self._names, row, strict=True)]
            text = "\n".join(
                f"{name}: {value.strip()}"
                for at, (name, value) in enumerate(pairs)
                if at not in taken and value.strip()
            )
        if text:
            yield self._origin.document(place, text, **fields)
        else:
            yield self._origin.remark(place, "no text")


def _as_text(value: object) -> str:
    if isinstance(value, bytes | list | dict):
        raise Unreadable("a column holds bytes, lists or records, which are no text")
    return "" if value is None else str(value)
