"""`fedward site register` and `object`: which records a dataset has, and whose are left out."""

from typing import Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath


def register(
    dataset: Annotated[str | None, typer.Argument(help="All datasets by default.")] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Registers a dataset as its file is now: it spends the account that its records belong to."""
    from contextlib import closing

    from fedward_client.site import Site

    with closing(Site.open(site)) as opened:
        for name in [dataset] if dataset is not None else sorted(opened.settings.datasets):
            made, new = opened.register(name)
            typer.echo(
                f"{name}: {made.records} records {'registered' if new else 'as registered before'}, "
                f"account {made.account}, {made.file}"
            )


def object_(
    dataset: Annotated[str, typer.Argument(help="The dataset's name in site.toml.")],
    owners: Annotated[list[str], typer.Argument(metavar="OWNER...", help="Whose records.")],
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Leaves the records of these owners out from the next round on; they are logged as a count."""
    from contextlib import closing

    from fedward_client import objections
    from fedward_client.site import Site

    with closing(Site.open(site)) as opened:
        added = objections.add(opened, dataset, owners)
        there = objections.present(opened.settings.datasets[dataset], owners)
    typer.echo(
        f"{added} added to the list of {dataset}; of the {len(set(owners))} named here, {there} have "
        "records in its file"
    )
