"""`fedward study`: what a coordinator does with a study. Heavy imports wait until a command runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

study = typer.Typer(help="Studies that this coordinator runs.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The study's folder, with charter.json in it.")]
Bundle = Annotated[Path, typer.Option(help="The code-free bundle (deploy/flower-app).")]
Address = Annotated[str, typer.Option(help="The SuperLink's address, HOST:PORT.")]
Certificate = Annotated[Path, typer.Option(help="The certificate its TLS is checked against.")]


@study.command()
def launch(folder: Folder, bundle: Bundle, superlink: Address, ca: Certificate) -> None:
    """Submits the study to a running SuperLink, and waits until it has ended."""
    _run(folder, bundle, superlink, ca, resume=False)


@study.command()
def resume(folder: Folder, bundle: Bundle, superlink: Address, ca: Certificate) -> None:
    """Goes on after the last finished round of a study that was stopped or killed."""
    _run(folder, bundle, superlink, ca, resume=True)


@study.command()
def status(folder: Folder) -> None:
    """Shows how far the study is, who was missing in which round, and how it ended."""
    from fedward_server.studies import OUTCOME_FILE, Study

    kept = Study(folder)
    kept.read()
    typer.echo(f"{kept.charter.study}: {kept.rounds_done} of {kept.charter.training.rounds} rounds")
    for record in kept.records:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in record.metrics.items())
        typer.echo(f"  round {record.round}: {', '.join(record.cohort)}; {scores}")
        for site, reason in record.missing.items():
            typer.echo(f"    {site}: {reason}")
    outcome = folder / OUTCOME_FILE
    if outcome.is_file():
        typer.echo(json.loads(outcome.read_text("utf-8"))["outcome"])


def _run(folder: Path, bundle: Path, address: str, ca: Path, resume: bool) -> None:
    from fedward_server import launching

    launching.run(folder, bundle, address, ca, resume, typer.echo)
