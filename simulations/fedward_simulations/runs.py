"""The folder of a run: what lies in it, and whether a run in it goes on or starts anew."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

import structlog

from fedward_shared import canonical
from fedward_shared.errors import UsageError
from fedward_shared.files import write_atomically
from fedward_shared.report import REPORT_FILE, RESULT_FILE

STUDIES_FOLDER = "studies"
ADAPTER_FOLDER = "adapter"
RUN_FILE = "run.txt"


def claim(out: Path, command: str, files: tuple[str, ...] = (RESULT_FILE, REPORT_FILE)) -> bool:
    """Takes the folder `out` for `command`; says whether an interrupted run of it goes on there.

    A finished run, which has the first of `files`, is replaced. Raises UsageError if an interrupted run
    of another command, or of another release, lies there.
    """
    key = canonical.digest(f"{command} {version('fedward-simulations')}".encode())
    studies, marker = out / STUDIES_FOLDER, out / RUN_FILE
    if studies.is_dir() and not (out / files[0]).is_file():
        if marker.is_file() and marker.read_text("utf-8") == key:
            return True
        raise UsageError(
            f"{out}: an unfinished run with other options lies here; choose another --out, or delete "
            "the folder"
        )
    shutil.rmtree(studies, ignore_errors=True)
    for name in files:
        (out / name).unlink(missing_ok=True)
    write_atomically(marker, key.encode())
    return False


def log_into(file: TextIO) -> None:
    """Sends the log to `file` from now on, one JSON object a line."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=file),
    )
