"""`fedward site`: what people at an institution do. Heavy imports wait until a command runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

site = typer.Typer(
    help="This institution: its charters and its privacy budget.", no_args_is_help=True
)

SettingsPath = Annotated[Path, typer.Option("--site", help="The site's settings.")]
DEFAULT_SETTINGS = Path("site.toml")

TEMPLATE = """\
# What this institution decides about itself. Only people here write this file.
name = {name}
state = "state"                 # ledger, approved charters, prepared records
base_models = [{base_model}]  # folders of models that charters may name by digest
threads = 1
minimum_cohort = 2              # with fewer sites than that, this one does not train

[datasets.{dataset}]
path = {data}
account = "{dataset}"           # datasets of one population share one account
epsilon = {epsilon}             # lifetime budget of the account, over all studies
delta = 1e-5
# columns = {{ text = "description", label = "chapter" }}
"""


@site.command()
def init(
    name: Annotated[str, typer.Option(help="The institution's name in charters.")],
    base_model: Annotated[Path, typer.Option(help="Folder of a base model.")],
    data: Annotated[Path, typer.Option(help="JSONL, CSV or Parquet file of records.")],
    dataset: Annotated[str, typer.Option(help="What charters call the dataset.")] = "records",
    epsilon: Annotated[float, typer.Option(help="Lifetime ε of the dataset.")] = 1.0,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Writes a `site.toml` to start from; never over one that is there."""
    from fedward_client import settings
    from fedward_shared.errors import UsageError
    from fedward_shared.files import write_atomically

    if site.exists():
        raise UsageError(f"{site}: is there already and was left as it is")
    text = TEMPLATE.format(
        name=_quoted(name),
        base_model=_quoted(base_model.resolve()),
        data=_quoted(data.resolve()),
        dataset=dataset,
        epsilon=epsilon,
    )
    draft = site.with_name(f".{site.name}.draft")
    try:
        write_atomically(draft, text.encode())
    except OSError as error:
        raise UsageError(f"{site}: cannot be written: {error.strerror}") from error
    try:
        settings.load(draft)
        draft.rename(site)
    except UsageError as error:
        raise UsageError(str(error).replace(str(draft), str(site))) from error
    finally:
        draft.unlink(missing_ok=True)
    typer.echo(f"wrote {site}")


def _quoted(value: str | Path) -> str:
    """A TOML string; JSON's quoting is TOML's, too."""
    return json.dumps(str(value), ensure_ascii=False)


@site.command()
def approve(
    charter: Annotated[Path, typer.Argument(help="Folder with charter.toml.")],
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Approves a charter: from now on this site trains for it, within its own limits."""
    from fedward_client import policy
    from fedward_client.site import Site
    from fedward_shared import charter as charters

    opened = Site.open(site)
    try:
        terms, _ = charters.load(charter)
        policy.permit(terms, opened.settings)
        opened.charters.approve(charter)
    finally:
        opened.close()
    typer.echo(f"{opened.name} approved {terms.study} ({terms.digest})")


@site.command()
def budget(site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Shows what each dataset's account has spent, and what is left."""
    from rich.console import Console
    from rich.table import Table

    from fedward_client.ledger import shown
    from fedward_client.site import Site

    opened = Site.open(site)
    table = Table(title=f"Privacy budget of {opened.name}")
    for title in ("account", "ε spent", "ε allowed", "δ", "bookings", "without an update"):
        table.add_column(title, justify="left" if title == "account" else "right")
    limits = {d.account: d for d in opened.settings.datasets.values()}
    for account, dataset in sorted(limits.items()):
        spending = opened.ledger.spending(account)
        table.add_row(
            account,
            shown(spending.epsilon),
            f"{dataset.epsilon:g}",
            f"{spending.delta or dataset.delta:g}",
            str(spending.bookings),
            str(spending.open_bookings),
        )
    opened.close()
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "ε is composed over all bookings. For a person known to two sites, theirs add up."
    )
