"""Measurements that are made once: a benchmark that was stopped goes on after the last whole one."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedward_shared.files import write_atomically


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """`folder`, without what an interrupted study has left in it; it is gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def once(path: Path, measure: Callable[[Path], Any]) -> Any:
    """What `measure` returns, as JSON has it, given a folder for itself; from `path` if it is there."""
    if not path.is_file():
        with scratch(path.with_suffix("")) as folder:
            write_atomically(path, json.dumps(measure(folder)).encode())
    return json.loads(path.read_text("utf-8"))
