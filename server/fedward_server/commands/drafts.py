"""`fedward study draft…` of each kind, and `sign`: from a draft to the charter that sites approve."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedward_server.commands.coordinator import HERE, HomeFolder

if TYPE_CHECKING:
    from fedward_shared.charter_terms import Participant

Sites = typer.Option(
    metavar="NAME=RECORDS[=KEY]", help="A site, once for each; an admitted one needs no key."
)
Coordinator = Annotated[
    str | None, typer.Option(help="This institution's name; that of the home by default.")
]
Key = Annotated[Path | None, typer.Option(help="Its signing key; that of the home by default.")]
Expires = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day; in a year.")
]


def draft(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    study: Annotated[str, typer.Option(help="The study's name.")],
    base_model: Annotated[Path, typer.Option(help="Folder of the base model.")],
    labels: Annotated[str, typer.Option(help="What is told apart, or marked in texts: a,b,c.")],
    participant: Annotated[list[str], Sites],
    task: Annotated[
        Literal["text-classification", "token-classification"],
        typer.Option(help="Whether texts have the labels, or entities in them."),
    ] = "text-classification",
    coordinator: Coordinator = None,
    key: Key = None,
    epsilon: Annotated[float, typer.Option(help="ε of each site for the whole study.")] = 1.0,
    delta: Annotated[float, typer.Option(help="δ of each site.")] = 1e-5,
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds.")] = 24,
    local_steps: Annotated[int, typer.Option(min=1, help="Steps of a site in a round.")] = 2,
    sampling_rate: Annotated[float, typer.Option(help="Chance of a record to be in a step.")] = 0.3,
    expires: Expires = None,
    home: HomeFolder = HERE,
) -> None:
    """Writes charter.toml, with comments, and study.toml, to edit before they are signed."""
    from fedward_server import drafting
    from fedward_server.studies import STUDY_FILE
    from fedward_shared.agreement import DRAFT_FILE

    noise = drafting.draft(
        folder,
        study,
        *_self(coordinator, key, home),
        base_model,
        task,
        labels.split(","),
        [_participant(text, home) for text in participant],
        epsilon,
        delta,
        rounds,
        local_steps,
        sampling_rate,
        _last_day(expires),
    )
    typer.echo(f"wrote {folder / DRAFT_FILE} and {folder / STUDY_FILE}; noise multiplier {noise:g}")
    typer.echo(f"edit them, then: fedward study sign {folder}")


def draft_vertical(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    study: Annotated[str, typer.Option(help="The study's name.")],
    participant: Annotated[list[str], Sites],
    table: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FILE", help="The columns of a party, once for each: a TOML file."
        ),
    ],
    active: Annotated[str, typer.Option(help="The party that has the label.")],
    label: Annotated[str, typer.Option(help="The column with the label at the active party.")],
    rule: Annotated[
        list[str],
        typer.Option(
            help="How a part of the identifiers is written, once for each part: number, …"
        ),
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="A value of the label, once for each; else 0 and 1."),
    ] = None,
    coordinator: Coordinator = None,
    key: Key = None,
    epsilon: Annotated[float | None, typer.Option(help="ε of each party; or --without-dp.")] = None,
    delta: Annotated[float, typer.Option(help="δ of each party.")] = 1e-5,
    every_batch: Annotated[
        bool,
        typer.Option("--every-batch", help="Exchange for every batch, and not answer once."),
    ] = False,
    predictions: Annotated[
        int, typer.Option(min=0, help="How often the active party may ask the model afterwards.")
    ] = 0,
    without_dp: Annotated[
        bool, typer.Option("--without-dp", help="No differential privacy: the charter says so.")
    ] = False,
    expires: Expires = None,
    home: HomeFolder = HERE,
) -> None:
    """Writes the draft of a vertical study, whose parties hold different columns of the same people."""
    from fedward_server.studies import STUDY_FILE
    from fedward_server.vertical import drafting
    from fedward_shared.agreement import DRAFT_FILE
    from fedward_shared.errors import UsageError
    from fedward_shared.vertical.terms import BINARY

    if without_dp == (epsilon is not None) or (without_dp and every_batch):
        raise UsageError("say --epsilon, with --every-batch or not, or else --without-dp alone")
    participants = [_participant(text, home) for text in participant]
    held = drafting.tables(table)
    terms = drafting.agreed(held, active, label, rule, participants, classes or BINARY, predictions)
    if epsilon is not None:
        smallest = min(one.records for one in participants)
        terms = drafting.protected(terms, epsilon, delta, every_batch, smallest)
    name, own = _self(coordinator, key, home)
    drafting.draft(folder, study, name, own, participants, terms, _last_day(expires))
    typer.echo(f"wrote {folder / DRAFT_FILE} and {folder / STUDY_FILE}")
    typer.echo(f"edit them, then: fedward study sign {folder}")


def draft_statistics(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    study: Annotated[str, typer.Option(help="The study's name.")],
    participant: Annotated[list[str], Sites],
    column: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=KIND:…",
            help="A column, once for each: NAME=number:LOW:HIGH[:BINS] or NAME=category:A,B,…",
        ),
    ],
    label: Annotated[
        str | None, typer.Option(help="The column whose balance matters: one of the categories.")
    ] = None,
    coordinator: Coordinator = None,
    key: Key = None,
    epsilon: Annotated[float, typer.Option(help="ε of each site for its one answer.")] = 0.5,
    delta: Annotated[float, typer.Option(help="δ of each site.")] = 1e-5,
    unit: Annotated[
        Literal["record", "patient", "customer"], typer.Option(help="Who is protected.")
    ] = "record",
    most_records: Annotated[
        int, typer.Option(min=1, help="Records of one patient or customer that count, at most.")
    ] = 1,
    expires: Expires = None,
    home: HomeFolder = HERE,
) -> None:
    """Writes the draft of a charter that asks sites for noised statistics, before a study is made."""
    from fedward_server.statistics import drafting
    from fedward_server.studies import STUDY_FILE
    from fedward_shared.agreement import DRAFT_FILE

    columns = drafting.columns(column)
    terms = drafting.planned(columns, label, epsilon, delta, unit, most_records)
    participants = [_participant(text, home) for text in participant]
    name, own = _self(coordinator, key, home)
    drafting.draft(folder, study, name, own, participants, terms, _last_day(expires))
    typer.echo(
        f"wrote {folder / DRAFT_FILE} and {folder / STUDY_FILE}; noise in a count of records: about "
        f"±{terms.count_noise:.1f}"
    )
    typer.echo(f"edit them, then: fedward study sign {folder}")


def draft_duplicates(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    study: Annotated[str, typer.Option(help="The study's name.")],
    participant: Annotated[list[str], Sites],
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="A role whose text is part of a document, once for each; text by default."
        ),
    ] = None,
    sessions: Annotated[
        int, typer.Option(min=1, max=1000, help="How often the sites may be compared.")
    ] = 1,
    coordinator: Coordinator = None,
    key: Key = None,
    expires: Expires = None,
    home: HomeFolder = HERE,
) -> None:
    """Writes the draft of a study in which sites learn which of their documents are nearly another's."""
    import secrets

    from fedward_server import duplicates
    from fedward_server.studies import STUDY_FILE
    from fedward_shared.agreement import DRAFT_FILE

    participants = [_participant(text, home) for text in participant]
    terms = duplicates.agreed(participants, column or ["text"], secrets.randbits(32), sessions)
    name, own = _self(coordinator, key, home)
    duplicates.draft(folder, study, name, own, participants, terms, _last_day(expires))
    typer.echo(f"wrote {folder / DRAFT_FILE} and {folder / STUDY_FILE}")
    typer.echo(f"edit them, then: fedward study sign {folder}")


def sign(folder: Annotated[Path, typer.Argument(help="The folder with the draft.")]) -> None:
    """Makes of a draft what sites get: charter.json, and initial.safetensors where there are rounds."""
    from fedward_server.drafts import sections

    of_kind = [SIGNING[section] for section in sections(folder) & SIGNING.keys()]
    for line in (of_kind or [_sign])[0](folder):
        typer.echo(line)


def _sign(folder: Path) -> Iterator[str]:
    from fedward_server import drafting
    from fedward_shared.agreement import CHARTER_FILE
    from fedward_shared.charter import INITIAL_FILE

    charter = drafting.sign(folder)
    yield f"signed {charter.study} ({charter.digest})"
    yield from drafting.masks_in_words(charter)
    yield f"send {folder / CHARTER_FILE} and {folder / INITIAL_FILE} to the sites"


def _sign_vertical(folder: Path) -> Iterator[str]:
    from fedward_server.sessions import drafting
    from fedward_server.vertical.drafting import cost_in_words
    from fedward_shared.agreement import CHARTER_FILE
    from fedward_shared.vertical.charter import VerticalCharter

    charter = drafting.sign(folder, VerticalCharter)
    yield f"signed {charter.study} ({charter.digest})"
    yield cost_in_words(charter)
    yield f"send {folder / CHARTER_FILE} to the parties"


def _sign_duplicates(folder: Path) -> Iterator[str]:
    from fedward_server.duplicates import cost_in_words
    from fedward_server.sessions import drafting
    from fedward_shared.agreement import CHARTER_FILE
    from fedward_shared.duplicates.charter import DuplicatesCharter

    charter = drafting.sign(folder, DuplicatesCharter)
    yield f"signed {charter.study} ({charter.digest})"
    yield cost_in_words(charter)
    yield f"send {folder / CHARTER_FILE} to the parties"


def _sign_statistics(folder: Path) -> Iterator[str]:
    from fedward_server.statistics import drafting
    from fedward_shared.agreement import CHARTER_FILE

    charter = drafting.sign(folder)
    yield f"signed {charter.study} ({charter.digest})"
    yield drafting.cost_in_words(charter)
    yield f"send {folder / CHARTER_FILE} to the sites"


SIGNING: Mapping[str, Callable[[Path], Iterator[str]]] = {
    "vertical": _sign_vertical,
    "statistics": _sign_statistics,
    "duplicates": _sign_duplicates,
}
"""By the section that only drafts of this kind have; one with none of them is of a study of rounds."""


def _self(coordinator: str | None, key: Path | None, home: Path) -> tuple[str, Path]:
    """This institution's name and the file of its key."""
    from fedward_server.coordinator import KEY_FILE, Home

    return coordinator or Home(home).name, key or Home(home).folder / KEY_FILE


def _last_day(expires: datetime | None) -> str:
    return (expires or datetime.now(UTC) + timedelta(days=365)).date().isoformat()


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
