"""`fedward vertical predict`: the party with the labels asks the model of a vertical study."""

from pathlib import Path
from typing import Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath

vertical = typer.Typer(
    help="Models that are split between institutions, and what they say.", no_args_is_help=True
)


@vertical.callback()
def group() -> None:
    """Models that are split between institutions, and what they say."""


@vertical.command()
def predict(
    charter: Annotated[str, typer.Argument(help="The charter's digest, sha256:…")],
    records: Annotated[
        Path, typer.Option(help="JSONL, CSV or Parquet file: whom to ask about; one or many.")
    ],
    out: Annotated[Path, typer.Option(help="The CSV file that gets the scores.")],
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait; until Ctrl-C by default.")
    ] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Asks the model of a vertical study, with all its parties online, and writes the scores.

    Waits until the coordinator has held a prediction (`fedward study predict`). Whoever stops waiting
    withdraws the question. The same file again has the same answer, and costs nobody anything.
    """
    from fedward_client import asking

    asking.ask(site, charter, records, out, timeout, typer.echo)
