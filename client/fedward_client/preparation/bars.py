"""A preparation's progress for people who wait: a bar for each step, with the time it still takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from fedward_client.preparation import prepare

STEPS = {
    "read": "reading files",
    "compare": "comparing",
    "finish": "finishing",
    "pictures": "pictures",
    "publish": "writing",
}


@contextmanager
def shown(console: Console, whose: str = "") -> Iterator[prepare.Progress]:
    """What `prepare` tells, drawn on `console`; `whose` dataset it is stands before each step."""
    columns = (TextColumn("{task.description:>13}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
        tasks: dict[str, Any] = {}

        def progress(step: str, done: int, of: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(f"{whose} {STEPS[step]}".strip(), total=of)
            bars.update(tasks[step], completed=done, total=of)

        yield progress
