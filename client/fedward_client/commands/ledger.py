"""`fedward site budget` and `recover`: what was spent, and how to go on after a restored copy."""

import getpass
from typing import Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath


def budget(site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Shows what each dataset's account has spent, and what is left."""
    from rich.console import Console
    from rich.table import Table

    from fedward_client.ledger import shown
    from fedward_client.site import Site

    opened = Site.open(site)
    table = Table(title=f"Privacy budget of {opened.name}")
    titles = ("account", "ε spent", "ε held", "ε set aside", "ε allowed", "δ", "bookings")
    for title in (*titles, "without an update"):
        table.add_column(title, justify="left" if title == "account" else "right")
    limits = {d.account: d for d in opened.settings.datasets.values()}
    for account, dataset in sorted(limits.items()):
        spending = opened.ledger.spending(account)
        table.add_row(
            account,
            shown(spending.epsilon),
            shown(spending.held),
            shown(spending.set_aside),
            f"{dataset.epsilon:g}",
            f"{spending.delta or dataset.delta:g}",
            str(spending.bookings),
            str(spending.open_bookings),
        )
    opened.close()
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "Spent: composed over all bookings. Held: what counts against the limit, a Rényi filter where "
        "several studies have used the account. Set aside: held, if every approved study runs to its "
        "end. For a person known to two sites, theirs add up."
    )


def recover(
    reason: Annotated[
        str, typer.Option(help="Why, and who has decided it; kept in the audit log.")
    ],
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Goes on with ledger and audit log that do not fit, at the worst that may have been spent."""
    from fedward_client.recovery import recover as recover_site

    for line in recover_site(site, reason, getpass.getuser()):
        typer.echo(line)
