"""`fedward bench`: what is measured here, beside those who are measured with it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedward_shared.errors import UsageError

LOG_FILE = "log.jsonl"


def bench(
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="Which benchmarks; all of them if none is named.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="A Markdown page whose sections are written anew.")
    ] = None,
) -> None:
    """Measures fedward beside its peers, in one run."""
    from fedward_simulations.bench.run import BENCHMARKS, measure
    from fedward_simulations.cli import log_to

    if unknown := [name for name in names or [] if name not in BENCHMARKS]:
        raise UsageError(f"{unknown[0]!r} is none of {', '.join(BENCHMARKS)}")
    log_to(out / LOG_FILE)
    console = Console(highlight=False, soft_wrap=True)
    wanted = names or list(BENCHMARKS)
    for number, name in enumerate(wanted, start=1):
        console.print(f"{number} of {len(wanted)}: {name}")
        measure(name, out, page, console)
