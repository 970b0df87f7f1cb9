"""`fedward site duplicates`: which of this site's records are nearly another site's."""

from pathlib import Path
from typing import Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath


def duplicates(
    charter: Annotated[str, typer.Argument(help="The charter's digest, sha256:…")],
    out: Annotated[
        Path | None, typer.Option(help="A CSV file that gets all of them, for its owner alone.")
    ] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Shows which records are nearly another site's, as the last session of a study of duplicates found.

    Records are numbered from 1 on, in the order of the dataset's file.
    """
    from fedward_client import duplicates_found

    for line in duplicates_found.show(site, charter, out):
        typer.echo(line)
