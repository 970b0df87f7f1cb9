"""`fedward site audit show`, `verify` and `export`: the log of every decision and of all that left."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath

if TYPE_CHECKING:
    from fedward_shared.audit import Entry
    from fedward_shared.identity import PublicKey

audit = typer.Typer(help="The log of every decision and of all that left.", no_args_is_help=True)

HIDDEN = {"receipt", "chain", "request", "change", "fields", "fingerprints"}
"""What is for programs: statements and digests that say nothing to people."""

LogFile = Annotated[Path | None, typer.Argument(help="A log; this site's own by default.")]
KeyText = Annotated[
    str | None,
    typer.Option("--key", help="Any public key of the institution; this site's by default."),
]


@audit.command()
def show(log: LogFile = None, key: KeyText = None, site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Prints the entries, each checked, one a line."""
    for entry in _read(*_place(log, key, site)):
        typer.echo(f"{entry.number:>6}  {entry.at}  {entry.event:<12} {_details(entry)}")


@audit.command()
def verify(
    log: LogFile = None,
    key: KeyText = None,
    witness: Annotated[Path | None, typer.Option(help="A witness file to hold it against.")] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Checks every signature and the chain; needs the log and the public key, and nothing else."""
    from fedward_client.reconciliation import Witness
    from fedward_shared.audit import check_heads
    from fedward_shared.errors import StateError

    path, public = _place(log, key, site)
    entries = list(_read(path, public))
    if witness is not None:
        seen = Witness(witness).read()
        if seen is None:
            raise StateError(f"{witness}: no such file")
        check_heads(entries, [seen], path)
    until = f", until {entries[-1].at}" if entries else ""
    typer.echo(f"{path}: {len(entries)} entries, all right{until}")
    if witness is None:
        typer.echo("whether the end was cut off shows only against a witness (--witness)")


@audit.command()
def export(
    out: Annotated[Path, typer.Option(help="The file to write, one JSON object a line.")],
    log: LogFile = None,
    key: KeyText = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Writes the checked entries without their signatures, for other tools."""
    from fedward_shared.files import write_atomically

    lines = [
        json.dumps(
            {"number": e.number, "at": e.at, "event": e.event, **e.details}, ensure_ascii=False
        )
        for e in _read(*_place(log, key, site))
    ]
    write_atomically(out, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
    typer.echo(f"wrote {out}: {len(lines)} entries")


def report(
    charter: Annotated[str, typer.Option("--study", help="The charter's digest, sha256:…")],
    out: Annotated[Path, typer.Option(help="The HTML page to write.")],
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Writes the evidence of one study for a data-protection officer, on a page."""
    from fedward_client import evidence
    from fedward_client.site import Site
    from fedward_shared.files import write_atomically

    opened = Site.open(site)
    try:
        page = evidence.render(evidence.gather(opened, charter))
    finally:
        opened.close()
    write_atomically(out, page.encode(), mode=0o600)
    typer.echo(f"wrote {out}")


def _place(log: Path | None, key: str | None, site: Path) -> tuple[Path, "PublicKey"]:
    from fedward_client import keys, settings
    from fedward_client.site import AUDIT_FILE
    from fedward_shared.identity import PublicKey

    if log is not None and key is not None:  # an auditor has no settings
        return log, PublicKey(key)
    loaded = settings.load(site)
    public = keys.load(loaded).public if key is None else PublicKey(key)
    return log or loaded.state / AUDIT_FILE, public


def _read(path: Path, key: "PublicKey") -> "list[Entry]":
    from fedward_shared import audit as logs

    return list(logs.read(path, key))


def _details(entry: "Entry") -> str:
    shown: dict[str, object] = {}
    for name, value in entry.details.items():
        inner = value if isinstance(value, dict) else {name: value}
        shown |= {k: v for k, v in inner.items() if k not in HIDDEN}
    return ", ".join(f"{name} {_short(value)}" for name, value in shown.items())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 or not text.startswith("sha256:") else f"{text[:19]}…"
