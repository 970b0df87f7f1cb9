"""`fedward study`: what a coordinator does with a study. Heavy imports wait until a command runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedward_server.commands import drafts
from fedward_server.commands.coordinator import HERE, HomeFolder, coordinator

if TYPE_CHECKING:
    from fedward_server.launching import How

__all__ = ["coordinator", "study"]

study = typer.Typer(help="Studies that this coordinator runs.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The study's folder, with charter.json in it.")]
Bundle = Annotated[Path, typer.Option(help="The code-free bundle (deploy/flower-app).")]
Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A SuperLink other than that of the home; with --ca."),
]
Certificate = Annotated[
    Path | None, typer.Option(help="The certificate its TLS is checked against.")
]


study.command()(drafts.draft)
study.command()(drafts.draft_vertical)
study.command()(drafts.draft_statistics)
study.command()(drafts.draft_duplicates)
study.command()(drafts.sign)


@study.command()
def launch(
    folder: Folder,
    bundle: Bundle,
    home: HomeFolder = HERE,
    superlink: Address = None,
    ca: Certificate = None,
) -> None:
    """Submits the study to the running coordinator, and waits until it has ended."""
    _run(folder, bundle, *_superlink(home, superlink, ca), "launch")


@study.command()
def resume(
    folder: Folder,
    bundle: Bundle,
    home: HomeFolder = HERE,
    superlink: Address = None,
    ca: Certificate = None,
    new_session: Annotated[
        bool,
        typer.Option(
            "--new-session",
            help="Of a study with sessions: with another one, which each party books anew.",
        ),
    ] = False,
) -> None:
    """Goes on where a study was that was stopped or killed, or in which a site failed."""
    how: How = "new-session" if new_session else "resume"
    _run(folder, bundle, *_superlink(home, superlink, ca), how)


@study.command()
def predict(
    folder: Folder,
    bundle: Bundle,
    home: HomeFolder = HERE,
    superlink: Address = None,
    ca: Certificate = None,
) -> None:
    """Has the parties of a vertical study answer what the active one asks (`fedward vertical predict`).

    One that did not end goes on: it counts among the charter's predictions once.
    """
    _run(folder, bundle, *_superlink(home, superlink, ca), "predict")


@study.command()
def stop(
    folder: Folder, home: HomeFolder = HERE, superlink: Address = None, ca: Certificate = None
) -> None:
    """Stops a study after what its sites are doing; `resume` goes on with it."""
    from fedward_server import launching

    stopped = launching.stop(folder, *_superlink(home, superlink, ca))
    typer.echo("stopped; what is done is kept" if stopped else "no run of it is under way")


@study.command("list")
def list_all(home: HomeFolder = HERE) -> None:
    """Lists the studies that were launched here: how far each is, and how it ended."""
    from fedward_server.coordinator import SETTINGS_FILE, Home
    from fedward_server.kinds import open_study
    from fedward_server.registry import all_registered
    from fedward_shared.errors import FedwardError

    if (home / SETTINGS_FILE).is_file():
        Home(home).enter()
    for place in all_registered():
        try:
            kept = open_study(place)
            kept.read()
        except FedwardError as error:
            typer.echo(f"{place}: {error}")
            continue
        typer.echo(f"{kept.charter.study}: {kept.progress}{_outcome(place, '; ')} ({place})")


@study.command()
def status(folder: Folder) -> None:
    """Shows how far the study is, which sites are missing and why, and how it ended."""
    from fedward_server.kinds import open_study

    kept = open_study(folder)
    kept.read()
    typer.echo(f"{kept.charter.study}: {kept.progress}")
    for line in kept.account:
        typer.echo(line)
    if ended := _outcome(folder):
        typer.echo(ended)


def _outcome(folder: Path, before: str = "") -> str:
    from fedward_server.studies import OUTCOME_FILE

    place = folder / OUTCOME_FILE
    return before + json.loads(place.read_text("utf-8"))["outcome"] if place.is_file() else ""


def _superlink(home: Path, address: str | None, ca: Path | None) -> tuple[str, Path]:
    """Address and certificate of the SuperLink: as the options say, or of the home."""
    from fedward_server.authority import CA_FILE
    from fedward_server.coordinator import Home
    from fedward_shared.errors import UsageError

    if address is not None and ca is not None:
        return address, ca
    if address is not None or ca is not None:
        raise UsageError("--superlink and --ca go together; without both, the home is used")
    opened = Home(home)
    opened.enter()
    return opened.superlink_address, opened.authority / CA_FILE


def _run(folder: Path, bundle: Path, address: str, ca: Path, how: "How") -> None:
    from fedward_server import launching

    launching.run(folder, bundle, address, ca, how, typer.echo)
