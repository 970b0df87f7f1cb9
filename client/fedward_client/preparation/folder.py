"""A folder of the ward, file by file: each is read as a whole, or quarantined with the reason."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fedward_client.preparation.documents import Document, Found, Picture, decode, encode
from fedward_client.preparation.sandbox import Sandbox
from fedward_shared.errors import DataError, Unreadable

IN_MEMORY = 2**24
"""Of the documents of one file; more of them wait on the disk."""


@dataclass(frozen=True)
class Read:
    """A file all of which was read; it comes after its documents and pictures. `digest`: its SHA-256."""

    file: str
    size: int
    digest: str
    documents: int
    pictures: int


@dataclass(frozen=True)
class Quarantined:
    """A file none of which is used, and why."""

    file: str
    reason: str


def read(folder: Path, sandbox: Sandbox) -> Iterator[Found | Read | Quarantined]:
    """What is in the files below `folder`, in the order of their names; after each, how it went.

    Raises as `listing` and `read_file` do.
    """
    for file in listing(folder):
        if isinstance(file, Quarantined):
            yield file
        else:
            yield from read_file(folder, file, sandbox)


def listing(folder: Path) -> Iterator[str | Quarantined]:
    """The files below `folder`, relative to it, in the order of the bytes of their names.

    What is no file, or has a name that is not UTF-8, comes as quarantined. Raises DataError for no
    folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    for path in _files(folder, folder):
        yield path if isinstance(path, Quarantined) else _name(folder, path)


def read_file(folder: Path, file: str, sandbox: Sandbox) -> Iterator[Found | Read | Quarantined]:
    """What is in `file` of `folder`; then how it went.

    No document comes out of a file that is broken further down, or changed while it was read: they wait
    until it has been read to its end. Raises MissingExtra.
    """
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as waiting:
        try:
            done = _read(folder / file, file, sandbox, waiting)
        except Unreadable as error:
            yield Quarantined(file, str(error))
            return
        waiting.seek(0)
        yield from map(decode, waiting)
    yield done


def _read(path: Path, file: str, sandbox: Sandbox, waiting: IO[bytes]) -> Read:
    before = fingerprint(path)
    documents = pictures = 0
    for found in sandbox.read(path, file):
        documents += isinstance(found, Document)
        pictures += isinstance(found, Picture)
        waiting.write(encode(found))
    if fingerprint(path) != before:
        raise Unreadable("changed while it was read")
    return Read(file, *before, documents, pictures)


def _files(folder: Path, at: Path) -> Iterator[Path | Quarantined]:
    try:
        entries = sorted(os.scandir(at), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield Quarantined(_name(folder, at), f"cannot be listed: {error.strerror}")
        return
    for entry in entries:
        path = at / entry.name
        file = _name(folder, path)
        if entry.is_symlink():
            yield Quarantined(file, _link(folder, path))
        elif entry.is_dir():
            yield from _files(folder, path)
        elif not entry.is_file():
            yield Quarantined(file, "no ordinary file")
        elif file != _relative(folder, path):
            yield Quarantined(file, "its name is not UTF-8; rename it")
        else:
            yield path


def _link(folder: Path, path: Path) -> str:
    """Nothing is read by two names, and nothing that lies elsewhere."""
    try:
        inside = path.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return "a link to nothing"
    return (
        "a link to what is read by its own name"
        if inside
        else "a link that leads out of the folder"
    )


def _name(folder: Path, path: Path) -> str:
    return _relative(folder, path).encode("utf-8", "backslashreplace").decode()


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def fingerprint(path: Path) -> tuple[int, str]:
    """Size and SHA-256, of a file that is one. Raises Unreadable."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("no ordinary file")
        return found.st_size, hashlib.file_digest(file, "sha256").hexdigest()
