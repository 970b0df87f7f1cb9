"""The readers: one file for each kind of file. A new kind is one file more, and a line in `READERS`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fedward_client.preparation.documents import Found, Origin
from fedward_client.preparation.mask import Mask
from fedward_client.preparation.readers import dicom, fhir, hl7, pdf, plain, sql, tables, video
from fedward_shared.errors import FedwardError, MissingExtra, Unreadable

HEAD_BYTES = 2**12


class Reader(Protocol):
    """What a module below has. `VERSION` goes up with every change of what it finds."""

    NAME: str
    VERSION: int
    ENDINGS: tuple[str, ...]

    def takes(self, head: bytes) -> bool:
        """Whether a file that begins like this is certainly of its kind."""
        ...

    def read(self, path: Path, origin: Origin) -> Iterator[Found]:
        """What is in the file, in its order. Raises Unreadable, or whatever its library raises."""
        ...


READERS: tuple[Reader, ...] = (dicom, pdf, video, hl7, fhir, tables, sql, plain)


def recognise(path: Path) -> Reader:
    """By what the file begins with, or else by its ending. Raises Unreadable for no known kind."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise Unreadable("the file is empty")
    name = path.name.lower()
    for reader in READERS:
        if reader.takes(head):
            return reader
    for reader in READERS:
        if name.endswith(reader.ENDINGS):
            return reader
    raise Unreadable("of no known kind, neither by its first bytes nor by its ending")


def read(path: Path, file: str, mask: Mask | None = None) -> Iterator[Found]:
    """What is in `path`, which is called `file`; `mask` as in `Origin`.

    Raises Unreadable for whatever is wrong with it, MissingExtra where its library is not installed,
    MemoryError where the process has none left.
    """
    try:
        reader = recognise(path)
        yield from reader.read(path, Origin(file, f"{reader.NAME}/{reader.VERSION}", mask))
    except (FedwardError, MemoryError):
        raise
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{error.name} is not installed: pip install 'fedward-client[data]'"
        ) from error
    except Exception as error:
        # Parsers raise all there is, in words that quote the file; what kind it was is enough.
        raise Unreadable(f"cannot be read: {type(error).__name__}") from error
