"""`fedward site init` and `key`: the settings and the key of an institution."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath

if TYPE_CHECKING:
    from fedward_shared.identity import PublicKey

MOST = 1_000_000
"""So many identifiers a peer may show, unless people write another number."""

TEMPLATE = """\
# What this institution decides about itself. Only people here write this file.
name = {name}
key = {key}                 # the key that stands for this institution: keep it, and keep it secret
{passphrase}state = "state"                 # ledger, approved charters, prepared records
base_models = [{base_models}]  # folders of models that charters may name by digest
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
# owner = "patient_id"          # whose record it is; needed for objections
# objections = "objections.txt" # whose records are left out, one owner a line
{alignment}
# statistics = "accepted"       # answer charters that ask for noised counts of its columns
# What else there is: docs/reference/site-toml.md
"""


def init(
    name: Annotated[str, typer.Option(help="The institution's name in charters.")],
    data: Annotated[Path, typer.Option(help="JSONL, CSV or Parquet file of records.")],
    dataset: Annotated[str, typer.Option(help="What charters call the dataset.")] = "records",
    epsilon: Annotated[float, typer.Option(help="Lifetime ε of the dataset.")] = 1.0,
    base_model: Annotated[
        list[Path] | None, typer.Option(help="Folder of a base model; vertical studies need none.")
    ] = None,
    identifier: Annotated[
        list[str] | None,
        typer.Option(help="Column of who a record is of, for vertical studies; one for each part."),
    ] = None,
    coordinator: Annotated[
        list[str] | None, typer.Option(metavar="NAME=KEY", help="A coordinator's public key.")
    ] = None,
    key_passphrase: Annotated[
        Path | None, typer.Option(help="A file with the passphrase that the key is put under.")
    ] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Writes a `site.toml` to start from and this site's key; never over what is there."""
    from fedward_client import keys, settings
    from fedward_shared.errors import UsageError
    from fedward_shared.files import write_atomically
    from fedward_shared.identity import SigningKey

    key, passphrase = site.with_suffix(".key"), keys.passphrase(key_passphrase)
    for path in (site, key):
        if path.exists():
            raise UsageError(f"{path}: is there already and was left as it is")
    pairs = [pair.partition("=") for pair in coordinator or []]
    text = TEMPLATE.format(
        name=_quoted(name),
        key=_quoted(key.name),
        passphrase=(
            f"key_passphrase = {_quoted(key_passphrase.resolve())}\n" if key_passphrase else ""
        ),
        coordinators="\n".join(f"{name} = {_quoted(text)}" for name, _, text in pairs),
        base_models=", ".join(_quoted(folder.resolve()) for folder in base_model or []),
        data=_quoted(data.resolve()),
        dataset=dataset,
        epsilon=epsilon,
        alignment=_alignment(identifier or []),
    )
    draft = site.with_name(f".{site.name}.draft")
    try:
        write_atomically(draft, text.encode())
    except OSError as error:
        raise UsageError(f"{site}: cannot be written: {error.strerror}") from error
    try:
        settings.load(draft)
        made = SigningKey.generate()
        made.save(key, passphrase)
        draft.rename(site)
    except UsageError as error:
        raise UsageError(str(error).replace(str(draft), str(site))) from error
    finally:
        draft.unlink(missing_ok=True)
    typer.echo(f"wrote {site} and {key}")
    _tell_key(name, made.public)


def _alignment(identifier: list[str]) -> str:
    """The line on vertical studies, which the site takes part in where it names the columns."""
    columns = ", ".join(_quoted(name) for name in identifier or ["customer_id"])
    line = f"alignment = {{ identifier = [{columns}], most = {MOST} }}"
    return line if identifier else f"# {line}  # for vertical studies"


def _tell_key(name: str, key: "PublicKey") -> None:
    typer.echo(f"key of {name}: {key.text}")
    typer.echo(f"fingerprint, to compare by telephone: {key.fingerprint}")


def key(site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Shows this site's public key, which charters name, and its fingerprint."""
    from fedward_client import keys, settings

    loaded = settings.load(site)
    _tell_key(loaded.name, keys.load(loaded).public)


def base_models(site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Shows the base models that charters may name here, with the digests by which they do."""
    from fedward_client import settings
    from fedward_shared import base_models

    for folder in settings.load(site).base_models:
        typer.echo(f"{base_models.digest(folder)}  {folder}")


def rotate_key(site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Replaces this site's key, which the old one signs; charters have to name the new one."""
    from fedward_client import settings
    from fedward_client.rotation import rotate

    old, new = rotate(site)
    loaded = settings.load(site)
    typer.echo(f"until now: {old.text}")
    _tell_key(loaded.name, new)
    typer.echo(
        "Charters that name the old key are run no more: coordinators have to draw up new ones with "
        f"this key, which you approve. Back up {loaded.key} and {loaded.key.with_suffix('.secret')}"
    )


def _quoted(value: str | Path) -> str:
    """A TOML string; JSON's quoting is TOML's, too."""
    return json.dumps(str(value), ensure_ascii=False)
