"""`fedward site`: what people at an institution do. Heavy imports wait until a command runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedward_shared.identity import PublicKey

site = typer.Typer(
    help="This institution: its charters and its privacy budget.", no_args_is_help=True
)

SettingsPath = Annotated[Path, typer.Option("--site", help="The site's settings.")]
CharterFolder = Annotated[Path, typer.Argument(help="Folder with charter.json.")]
DEFAULT_SETTINGS = Path("site.toml")

TEMPLATE = """\
# What this institution decides about itself. Only people here write this file.
name = {name}
key = {key}                 # the key that stands for this institution: keep it, and keep it secret
state = "state"                 # ledger, approved charters, prepared records
base_models = [{base_model}]  # folders of models that charters may name by digest
threads = 1
minimum_cohort = 2              # with fewer sites than that, this one does not train

[coordinators]                  # whose charters are considered; compare each key's fingerprint
{coordinators}

[datasets.{dataset}]
path = {data}
account = "{dataset}"           # datasets of one population share one account
epsilon = {epsilon}             # lifetime budget of the account, over all studies
delta = 1e-5
uses = ["research"]             # what a charter may be for
# columns = {{ text = "description", label = "chapter" }}
"""


@site.command()
def init(
    name: Annotated[str, typer.Option(help="The institution's name in charters.")],
    base_model: Annotated[Path, typer.Option(help="Folder of a base model.")],
    data: Annotated[Path, typer.Option(help="JSONL, CSV or Parquet file of records.")],
    dataset: Annotated[str, typer.Option(help="What charters call the dataset.")] = "records",
    epsilon: Annotated[float, typer.Option(help="Lifetime ε of the dataset.")] = 1.0,
    coordinator: Annotated[
        list[str] | None, typer.Option(metavar="NAME=KEY", help="A coordinator's public key.")
    ] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Writes a `site.toml` to start from and this site's key; never over what is there."""
    from fedward_client import settings
    from fedward_shared.errors import UsageError
    from fedward_shared.files import write_atomically
    from fedward_shared.identity import SigningKey

    key = site.with_suffix(".key")
    for path in (site, key):
        if path.exists():
            raise UsageError(f"{path}: is there already and was left as it is")
    pairs = [pair.partition("=") for pair in coordinator or []]
    text = TEMPLATE.format(
        name=_quoted(name),
        key=_quoted(key.name),
        coordinators="\n".join(f"{name} = {_quoted(text)}" for name, _, text in pairs),
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
        made = SigningKey.generate()
        made.save(key)
        draft.rename(site)
    except UsageError as error:
        raise UsageError(str(error).replace(str(draft), str(site))) from error
    finally:
        draft.unlink(missing_ok=True)
    typer.echo(f"wrote {site} and {key}")
    _tell_key(name, made.public)


def _tell_key(name: str, key: "PublicKey") -> None:
    typer.echo(f"key of {name}: {key.text}")
    typer.echo(f"fingerprint, to compare by telephone: {key.fingerprint}")


@site.command()
def key(site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Shows this site's public key, which charters name, and its fingerprint."""
    from fedward_client import settings
    from fedward_shared.identity import SigningKey

    loaded = settings.load(site)
    _tell_key(loaded.name, SigningKey.load(loaded.key).public)


def _quoted(value: str | Path) -> str:
    """A TOML string; JSON's quoting is TOML's, too."""
    return json.dumps(str(value), ensure_ascii=False)


@site.command()
def review(charter: CharterFolder, site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Says in sentences what a charter asks for, and what this site's rules make of it."""
    from rich.console import Console

    from fedward_client import review as reviewing
    from fedward_client.site import Site
    from fedward_shared import charter as charters

    terms, _ = charters.load(charter)
    opened = Site.open(site)
    try:
        reviewing.show(terms, opened, Console(highlight=False))
    finally:
        opened.close()


@site.command()
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


@site.command()
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


@site.command()
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
