"""`fedward site review`, `approve`, `refuse` and `withdraw`: what people decide about a charter."""

from pathlib import Path
from typing import Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, CharterFolder, SettingsPath


def review(charter: CharterFolder, site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Says in sentences what a charter asks for, and what this site's rules make of it."""
    from rich.console import Console

    from fedward_client import charters
    from fedward_client import review as reviewing
    from fedward_client.site import Site

    terms, _ = charters.read(charter)
    opened = Site.open(site)
    try:
        reviewing.show(terms, opened, Console(highlight=False))
    finally:
        opened.close()


def rehearse(charter: CharterFolder, site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Runs a round of each kind on invented records: time, memory and ε, before anyone approves."""
    from rich.console import Console
    from rich.table import Table

    from fedward_client import rehearsal
    from fedward_client.site import Site
    from fedward_shared import charter as charters

    terms, initial = charters.load(charter)
    opened = Site.open(site)
    try:
        forecast = rehearsal.rehearse(terms, initial, opened, typer.echo)
    finally:
        opened.close()
    table = Table(title=f"{terms.study}, rehearsed at {opened.name}", show_header=False)
    for title, text in forecast.sentences():
        table.add_row(title, text)
    Console(highlight=False).print(table)


def approve(
    charter: CharterFolder,
    person: Annotated[str | None, typer.Option(help="Who assents (approval.people).")] = None,
    person_key: Annotated[Path | None, typer.Option(help="Their signing key.")] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Approves a charter: from now on this site trains for it, within its own limits."""
    from fedward_client import consent
    from fedward_client.site import Site

    opened = Site.open(site)
    try:
        terms, decision = consent.approve(opened, charter, person, person_key)
    finally:
        opened.close()
    if decision is None:
        typer.echo(
            f"{person} assented to {terms.study}; others still have to (site.toml: approval)"
        )
    else:
        typer.echo(f"{opened.name} approved {terms.study} ({terms.digest})")


def refuse(charter: CharterFolder, site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Refuses a charter, signed: the coordinator can see that it was considered."""
    from fedward_client import consent
    from fedward_client.site import Site

    opened = Site.open(site)
    try:
        terms, _ = consent.refuse(opened, charter)
    finally:
        opened.close()
    typer.echo(f"{opened.name} refused {terms.study} ({terms.digest})")


def withdraw(
    charter: Annotated[str, typer.Argument(help="The charter's digest, sha256:…")],
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Withdraws an approval: no further round of the study is trained here."""
    from fedward_client import consent
    from fedward_client.site import Site

    opened = Site.open(site)
    try:
        terms, _ = consent.withdraw(opened, charter)
    finally:
        opened.close()
    typer.echo(
        f"{opened.name} withdrew from {terms.study} ({terms.digest}); what has left before stays "
        "with the others"
    )
