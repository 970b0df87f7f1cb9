"""The process that reads: it is asked for a file a line (its path, its name, the
mask of pictures), and answers in frames.

    + {document or remark}      one that was found
    =                           the file was read to its end
    ! "reason"                  it cannot be read
    ? "what to install"         the library for it is not there

Nothing else gets on the pipe: what a library prints goes to nobody.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from fedward_client.limits import apply_limits
from fedward_client.preparation import readers
from fedward_client.preparation.documents import encode
from fedward_client.preparation.mask import Mask
from fedward_shared.errors import MissingExtra, Unreadable

OUT_OF_MEMORY = 75
FOUND, END, UNREADABLE, MISSING = b"+", b"=", b"!", b"?"


def answers(path: str, file: str, mask: Mask | None) -> Iterator[bytes]:
    """The frames for one file."""
    try:
        for found in readers.read(Path(path), file, mask):
            yield FOUND + encode(found)
        yield END + b"\n"
    except Unreadable as error:
        yield UNREADABLE + json.dumps(str(error)).encode() + b"\n"
    except MissingExtra as error:
        yield MISSING + json.dumps(str(error)).encode() + b"\n"


def bind(memory: int, open_files: int) -> None:
    """Limits this process for good: memory, open files, and that it writes to none of them."""
    apply_limits(memory)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def grant(seconds: int) -> None:
    """So much processor time from now on; then the kernel ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def main(memory: int, open_files: int, seconds: int) -> None:
    """Until nobody asks any more."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    bind(memory, open_files)
    try:
        for line in sys.stdin.buffer:
            path, file, mask = json.loads(line)
            grant(seconds)
            for frame in answers(path, file, Mask(*mask) if mask else None):
                pipe.write(frame)
            pipe.flush()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # to go on would be to read the next file with what is left
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
