"""Whose processes are left: found by the folder they were started in, which nobody else has."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def living_in(folder: Path) -> Iterator[int]:
    """Ids of the processes whose working directory is in `folder`; a zombie has none.

    A mark in the environment would miss nginx, which writes over its own.
    """
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):  # gone since, or somebody else's
                if (entry / "cwd").readlink().is_relative_to(folder.resolve()):
                    yield int(entry.name)


def kill_all_in(folder: Path) -> None:
    """Ends them, by their ids."""
    for pid in list(living_in(folder)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
