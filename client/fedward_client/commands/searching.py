"""`fedward site search`: settings of a charter that do well on this site's own records."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, CharterFolder, SettingsPath

if TYPE_CHECKING:
    from fedward_client.training.trainer import Progress


def search(
    charter: CharterFolder,
    terms: Annotated[Path, typer.Argument(metavar="SEARCH.toml", help="What is searched for.")],
    out: Annotated[Path, typer.Option(help="A folder for the search; it stays at this site.")],
    epsilon: Annotated[float, typer.Option(help="How much ε the search may cost.")],
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Looks for settings of an approved charter on this site's records, and books what that costs."""
    from fedward_client import limits, settings
    from fedward_client.searching.looking import RESULT, Search

    memory = settings.load(site).limits.memory_gib or 0
    limits.apply_limits(int(memory * limits.GIB))
    found = Search(site, charter, terms, out, epsilon)
    for line in found.cost():
        typer.echo(line)
    with _progress() as progress:
        result = found.run(typer.echo, progress)
    typer.echo(f"\n{result}")
    typer.echo(found.spent())
    typer.echo(f"of {out} only {RESULT} may leave this site")


@contextmanager
def _progress() -> "Iterator[Progress]":
    """Of the trial under way alone: how many there are is nobody's business."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("a trial"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("trial", total=None)

        def progress(done: int, of: int) -> None:
            if done == 1:
                shown.reset(task, total=of)
            shown.update(task, completed=done, total=of)

        yield progress
