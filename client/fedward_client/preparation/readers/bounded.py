"""Reading of which a file cannot make more than is foreseen: lines, spans and encodings."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from fedward_shared.errors import Unreadable

LONGEST_LINE = 2**24
LARGEST_SPAN = 2**26
"""Of one resource in a bundle, or of a file that is read as a whole."""

SAMPLE = 2**16
BLOCK = 2**20
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""How a text begins that says its encoding; the longer of two that begin alike comes first."""

CANDIDATES = ["gb18030", "cp1252", "latin_1"]


Text = TypeVar("Text", str, bytes)
Line = TypeVar("Line", str, bytes, covariant=True)


class Lines(Protocol[Line]):
    """A file of which lines can be read."""

    def readline(self, size: int = -1, /) -> Line:
        """At most `size` of the next line."""
        ...


def lines(file: Lines[Text]) -> Iterator[Text]:
    """Line by line. Raises Unreadable, with its number, for one that is too long."""
    most, number = LONGEST_LINE, 0
    while line := file.readline(most + 1):
        number += 1
        if len(line) > most:
            raise Unreadable(f"line {number} is longer than {most:,}")
        yield line


def whole(path: Path) -> bytes:
    """All of a file. Raises Unreadable for one that is larger than `LARGEST_SPAN`."""
    with path.open("rb") as file:
        content = file.read(LARGEST_SPAN + 1)
    if len(content) > LARGEST_SPAN:
        raise Unreadable(f"the file is larger than {LARGEST_SPAN:,} bytes")
    return content


class Window:
    """A file of which no more than `LARGEST_SPAN` bytes are read between two marks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._since = 0

    def read(self, size: int) -> bytes:
        """As a file's. Raises Unreadable where the next mark is too far."""
        found = self._file.read(size)
        self._since += len(found)
        if self._since > LARGEST_SPAN:
            raise Unreadable(f"an entry is larger than {LARGEST_SPAN:,} bytes")
        return found

    def mark(self) -> None:
        """What is read from here on is another entry's."""
        self._since = 0


def encoding(path: Path) -> str:
    """In which the text in a file is: what its first bytes say, UTF-8 if all of it is, or else what
    charset-normalizer holds for likeliest of GB18030, Windows-1252 and Latin-1.

    Raises Unreadable for a file that begins with bytes that are in no text. UTF-16 without its mark is
    one: short texts in it are too easily taken for others.
    """
    with path.open("rb") as file:
        sample = file.read(SAMPLE)
    for mark, name in MARKS.items():
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        raise Unreadable("has NUL bytes, and no mark of UTF-16 before them")
    if _is_utf8(path):
        return "utf-8"
    from charset_normalizer import from_bytes

    likeliest = from_bytes(sample, cp_isolation=CANDIDATES).best()
    if likeliest is None:
        raise Unreadable("no text in UTF-8, UTF-16, GB18030, Windows-1252 or Latin-1")
    return likeliest.encoding.replace("_", "-")


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True
