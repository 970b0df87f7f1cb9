"""Texts of many files, one document after the other, in bounded memory and always in the same order.

A record that cannot be read is passed over, counted by its reason, and the first of them are named. A
file that is damaged as a whole, or a source with more than its share of such records, is refused: what
is trained on is then not what somebody believes it to be.
"""

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NamedTuple, cast

import polars as pl
from pydantic import Field, model_validator

from fedward_shared import canonical
from fedward_shared.errors import DataError
from fedward_shared.terms import Name, Terms

LONGEST = 2**22
"""Bytes of a record, or characters of a field of Parquet: one that is longer is passed over."""

PLACES = 10
"""Records that are named, of those of a source that cannot be read."""

_BOM = b"\xef\xbb\xbf"
_SETTLED = 10_000
"""Records after which a source is refused as soon as its share cannot be read."""

_ROWS = 1024
_DOCUMENTS = 512
_CHARACTERS = 2**20
_BLOCK = 2**20

Segment = tuple[str, str]
"""A text and its language."""

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class SourceTerms(Terms):
    """Where texts of one kind and language come from, and how much of the training they are.

    `paths` are files or patterns of them (`wiki/**/*.jsonl.gz`), from the configuration's folder on;
    what ends in .gz is unpacked. `format` says what a document is: `field` of each line of JSON or row
    of Parquet, each line, or each file. `other_field` has the same in `other_language`: a parallel text.
    `weight` is the source's share of the rows, beside the weights of the others. `refused` is the share
    of records that may be unreadable. What is there for `evaluation` is never trained on, and nothing
    that has a passage of it.
    """

    name: Name
    paths: Annotated[tuple[str, ...], Field(min_length=1)]
    format: Literal["jsonl", "parquet", "lines", "text"]
    language: Language
    field: str = "text"
    other_field: str | None = None
    other_language: Language | None = None
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    refused: Annotated[float, Field(ge=0, le=1)] = 0.01
    evaluation: bool = False

    @model_validator(mode="after")
    def _of_a_piece(self) -> "SourceTerms":
        if (self.other_field is None) != (self.other_language is None):
            raise ValueError("other_field and other_language go together: name both or neither")
        if self.other_field is not None and self.format not in ("jsonl", "parquet"):
            raise ValueError(f"format {self.format!r} has no fields, and so no other_field")
        return self


class Document(NamedTuple):
    """A text, the same in another language where the source has one, and where it stands.

    `file` and `record` count from 0: the document's file among the source's, and its place in it.
    """

    text: str
    other: str | None
    file: int
    record: int


class Refused(NamedTuple):
    """A record that is no document: the name of its file, its number from 1 on, and why."""

    path: Path
    record: int
    reason: str


@dataclass
class Tally:
    """How many records of a source were read, and how many could not be, by their reason."""

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    places: list[str] = field(default_factory=list)

    def documents(
        self, terms: SourceTerms, records: Iterable[Document | Refused]
    ) -> Iterator[Document]:
        """Those of `records` that are documents.

        Raises DataError if more than the source's share cannot be read, as soon as that is clear.
        """
        for record in records:
            self.read += 1
            if isinstance(record, Document):
                yield record
                continue
            self.refused[record.reason] += 1
            if len(self.places) < PLACES:
                self.places.append(f"{record.path.name}:{record.record}: {record.reason}")
            self._check(terms, max(self.read, _SETTLED))
        self._check(terms, self.read)

    def _check(self, terms: SourceTerms, read: int) -> None:
        if (refused := self.refused.total()) > terms.refused * read:
            raise DataError(
                f"source {terms.name!r}: {refused} of {self.read} records cannot be read, and "
                f"{terms.refused:.3%} may be: {'; '.join(self.places)}; mend the files, or allow a "
                "larger share (refused)"
            )


def files(terms: SourceTerms, root: Path) -> list[Path]:
    """The files of a source in their order. Raises DataError for a path that names none."""
    found: set[Path] = set()
    for pattern in terms.paths:
        anchor = Path(pattern).anchor
        base = Path(anchor) if anchor else root
        matching = {path for path in base.glob(pattern[len(anchor) :]) if path.is_file()}
        if not matching:
            raise DataError(f"source {terms.name!r}: no file is {pattern!r} under {root}")
        found |= matching
    return sorted(found)


def content_digest(paths: Sequence[Path]) -> str:
    """Stands for the bytes of the files in their order, wherever they lie."""
    digests = []
    for path in paths:
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return canonical.digest("\n".join(digests).encode())


def records(
    terms: SourceTerms, paths: Sequence[Path], file: int = 0, record: int = 0
) -> Iterator[Document | Refused]:
    """What is in the files, from record number `record` of file number `file` on.

    Memory is that of a document, or of a few row groups of Parquet. Raises DataError for a file that is
    damaged as a whole, or has no such field.
    """
    for number in range(file, len(paths)):
        skipped = record if number == file else 0
        nothing = skipped == 0
        for place, raw in islice(enumerate(_raw(terms, paths[number])), skipped, None):
            if isinstance(raw, bytes) and not raw.strip():
                continue
            nothing = False
            try:
                text, other = _texts(terms, raw)
            except _NoDocument as error:
                yield Refused(paths[number], place + 1, str(error))
            else:
                yield Document(text, other, number, place)
        if nothing:
            yield Refused(paths[number], 1, "an empty file")


def parts(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Some hundred documents at a time, or fewer that are long."""
    part: list[Document] = []
    characters = 0
    for document in documents:
        part.append(document)
        characters += len(document.text)
        if len(part) == _DOCUMENTS or characters >= _CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part


class _NoDocument(Exception):
    """Why a record is none."""


Raw = bytes | tuple[Any, ...] | None
"""A record as it lies in its file: bytes, values of its fields, or None where it is too long."""


def _raw(terms: SourceTerms, path: Path) -> Iterator[Raw]:
    try:
        if terms.format == "parquet":
            yield from _rows(path, _fields(terms))
        else:
            with _opened(path) as stream:
                yield from _lines(stream) if terms.format != "text" else _whole(stream)
    except pl.exceptions.PolarsError as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as Parquet: {reason}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged: {error}; fetch the file again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """The lines, None for one that is too long."""
    first = True
    while line := stream.readline(LONGEST + 1):
        if len(line) > LONGEST and not line.endswith(b"\n"):
            while (rest := stream.readline(_BLOCK)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line.removeprefix(_BOM) if first else line
        first = False


def _whole(stream: IO[bytes]) -> Iterator[bytes | None]:
    content = stream.read(LONGEST + 1)
    yield content.removeprefix(_BOM) if len(content) <= LONGEST else None


def _rows(path: Path, fields: list[str]) -> Iterator[tuple[Any, ...]]:
    schema = pl.read_parquet_schema(path)
    for name in fields:
        if schema.get(name) != pl.String:
            has = ", ".join(f"{column} ({kind})" for column, kind in schema.items())
            raise DataError(f"{path}: no column {name!r} of text; it has {has}")
    frames = (
        pl.scan_parquet(path, glob=False)
        .select(fields)
        .collect_batches(chunk_size=_ROWS, maintain_order=True, lazy=True)
    )
    for frame in frames:
        yield from frame.iter_rows()


def _texts(terms: SourceTerms, raw: Raw) -> tuple[str, str | None]:
    """The text of a record, and the same in the other language. Raises _NoDocument."""
    if raw is None:
        raise _NoDocument(f"longer than {LONGEST} bytes")
    fields = _fields(terms)
    values = _values(terms, fields, raw) if isinstance(raw, bytes) else raw
    for name, value in zip(fields, values, strict=True):
        if not isinstance(value, str):
            raise _NoDocument(f"no text in {name!r}")
        if not value.strip():
            raise _NoDocument(f"nothing in {name!r}")
        if len(value) > LONGEST:
            raise _NoDocument(f"longer than {LONGEST} bytes")
        if not _encodable(value):
            raise _NoDocument(f"half a character in {name!r}")
    return values[0], values[1] if len(fields) > 1 else None


def _values(terms: SourceTerms, fields: list[str], raw: bytes) -> tuple[Any, ...]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _NoDocument("not UTF-8") from error
    if terms.format != "jsonl":
        return (text.rstrip("\r\n") if terms.format == "lines" else text,)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _NoDocument("no JSON") from error
    if not isinstance(value, dict):
        raise _NoDocument("no JSON object")
    return tuple(value.get(name) for name in fields)


def _encodable(text: str) -> bool:
    """Whether it has no lone surrogate, which JSON can write and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fields(terms: SourceTerms) -> list[str]:
    return [terms.field] if terms.other_field is None else [terms.field, terms.other_field]
