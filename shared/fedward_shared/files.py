"""Files that are either wholly there or not there at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_atomically(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A file to write, which becomes `path` at the end: a crash leaves the old file or the new one.

    The bytes go to a temporary file beside `path`, are flushed to disk, and take its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes `data` to `path` as a whole or not at all."""
    with written_atomically(path, mode) as file:
        file.write(data)
