"""`fedward study`: what a coordinator does with a study. Heavy imports wait until a command runs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedward_server.commands.coordinator import HERE, HomeFolder, coordinator

if TYPE_CHECKING:
    from fedward_shared.charter_terms import Participant

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


@study.command()
def draft(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    study: Annotated[str, typer.Option(help="The study's name.")],
    base_model: Annotated[Path, typer.Option(help="Folder of the base model.")],
    labels: Annotated[str, typer.Option(help="What is told apart: a,b,c.")],
    participant: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=RECORDS[=KEY]",
            help="A site, once for each; an admitted one needs no key.",
        ),
    ],
    coordinator: Annotated[
        str | None, typer.Option(help="This institution's name; that of the home by default.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its signing key; that of the home by default.")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="ε of each site for the whole study.")] = 1.0,
    delta: Annotated[float, typer.Option(help="δ of each site.")] = 1e-5,
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds.")] = 24,
    local_steps: Annotated[int, typer.Option(min=1, help="Steps of a site in a round.")] = 2,
    sampling_rate: Annotated[float, typer.Option(help="Chance of a record to be in a step.")] = 0.3,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day; in a year.")
    ] = None,
    home: HomeFolder = HERE,
) -> None:
    """Writes charter.toml, with comments, and study.toml, to edit before they are signed."""
    from fedward_server import drafting
    from fedward_server.coordinator import KEY_FILE, Home
    from fedward_server.studies import STUDY_FILE
    from fedward_shared.agreement import DRAFT_FILE

    last = expires or datetime.now(UTC) + timedelta(days=365)
    noise = drafting.draft(
        folder,
        study,
        coordinator or Home(home).name,
        key or Home(home).folder / KEY_FILE,
        base_model,
        labels.split(","),
        [_participant(text, home) for text in participant],
        epsilon,
        delta,
        rounds,
        local_steps,
        sampling_rate,
        last.date().isoformat(),
    )
    typer.echo(f"wrote {folder / DRAFT_FILE} and {folder / STUDY_FILE}; noise multiplier {noise:g}")
    typer.echo(f"edit them, then: fedward study sign {folder}")


def _participant(text: str, home: Path) -> "Participant":
    from pydantic import ValidationError

    from fedward_shared.charter_terms import Participant
    from fedward_shared.errors import FedwardError, UsageError
    from fedward_shared.terms import describe

    name, records, key = [*text.split("=", 2), "", ""][:3]
    try:
        key = key or _admitted_key(name, home)
    except FedwardError as error:
        raise UsageError(
            f"--participant {text}: no key is given, and of admitted sites: {error}"
        ) from error
    try:
        return Participant.model_validate({"name": name, "records": records, "key": key})
    except ValidationError as error:
        raise UsageError(f"--participant {text}: {describe(error)}") from error


def _admitted_key(site: str, home: Path) -> str:
    from fedward_server.coordinator import Home
    from fedward_server.registrar import Registrar

    registrar = Registrar(Home(home))
    try:
        return registrar.state.current(site).key
    finally:
        registrar.close()


@study.command()
def sign(folder: Annotated[Path, typer.Argument(help="The folder with the draft.")]) -> None:
    """Makes charter.json and initial.safetensors of the draft: what sites get."""
    from fedward_server import drafting
    from fedward_shared.agreement import CHARTER_FILE
    from fedward_shared.charter import INITIAL_FILE

    charter = drafting.sign(folder)
    typer.echo(f"signed {charter.study} ({charter.digest})")
    for line in drafting.masks_in_words(charter):
        typer.echo(line)
    typer.echo(f"send {folder / CHARTER_FILE} and {folder / INITIAL_FILE} to the sites")


@study.command()
def launch(
    folder: Folder,
    bundle: Bundle,
    home: HomeFolder = HERE,
    superlink: Address = None,
    ca: Certificate = None,
) -> None:
    """Submits the study to the running coordinator, and waits until it has ended."""
    _run(folder, bundle, *_superlink(home, superlink, ca), resume=False)


@study.command()
def resume(
    folder: Folder,
    bundle: Bundle,
    home: HomeFolder = HERE,
    superlink: Address = None,
    ca: Certificate = None,
) -> None:
    """Goes on after the last finished round of a study that was stopped or killed."""
    _run(folder, bundle, *_superlink(home, superlink, ca), resume=True)


@study.command()
def stop(
    folder: Folder, home: HomeFolder = HERE, superlink: Address = None, ca: Certificate = None
) -> None:
    """Stops a study after what its sites are doing; `resume` goes on with it."""
    from fedward_server import launching

    stopped = launching.stop(folder, *_superlink(home, superlink, ca))
    typer.echo("stopped; its rounds are kept" if stopped else "no run of it is under way")


@study.command("list")
def list_all(home: HomeFolder = HERE) -> None:
    """Lists the studies that were launched here: how far each is, and how it ended."""
    from fedward_server.coordinator import SETTINGS_FILE, Home
    from fedward_server.studies import Study, all_registered
    from fedward_shared.errors import FedwardError

    if (home / SETTINGS_FILE).is_file():
        Home(home).know_studies()
    for place in all_registered():
        try:
            kept = Study(place)
            kept.read()
        except FedwardError as error:
            typer.echo(f"{place}: {error}")
            continue
        rounds = f"{kept.rounds_done} of {kept.charter.training.rounds} rounds"
        typer.echo(f"{kept.charter.study}: {rounds}{_outcome(place, '; ')} ({place})")


@study.command()
def status(folder: Folder) -> None:
    """Shows how far the study is, who was missing in which round, and how it ended."""
    from fedward_server.studies import Study, in_words

    kept = Study(folder)
    kept.read()
    typer.echo(f"{kept.charter.study}: {kept.rounds_done} of {kept.charter.training.rounds} rounds")
    for record in kept.records:
        for line in in_words(record):
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
    opened.know_studies()
    return opened.superlink_address, opened.authority / CA_FILE


def _run(folder: Path, bundle: Path, address: str, ca: Path, resume: bool) -> None:
    from fedward_server import launching

    launching.run(folder, bundle, address, ca, resume, typer.echo)
