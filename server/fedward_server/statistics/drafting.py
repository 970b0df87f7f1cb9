"""From columns that a consortium agrees on to the signed charter that asks for their statistics.

`draft` writes `charter.toml`, with comments, and `study.toml`; people edit both. `sign` signs the first.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fedward_server.drafts import toml
from fedward_server.studies import STUDY_FILE, StudySettings, read_settings
from fedward_shared import agreement
from fedward_shared.agreement import DRAFT_FILE
from fedward_shared.charter_terms import Participant
from fedward_shared.errors import UsageError
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.privacy.unit import Unit
from fedward_shared.statistics import charter as charters
from fedward_shared.statistics import planning
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.terms import Column, StatisticsTerms
from fedward_shared.terms import describe

COLUMN = "NAME=number:LOW:HIGH[:BINS] or NAME=category:A,B,…"

CHARTER = """\
# The draft of a charter that asks sites for statistics. Edit it, then `fedward study sign`. What is
# signed is what sites approve; these comments are not part of it.
version = 1
study = {study}
purpose = ""             # what the statistics are for, in a sentence that an ethics board understands
use = "research"         # the same in one word; sites allow datasets for uses
legal_basis = ""         # for example: GDPR Art. 9(2)(j), vote 2026-117 of the ethics board
expires = {expires}     # sites can be asked until the end of this day, UTC
dataset = "records"      # what sites call their data
deadline_seconds = 3600.0   # how long their answers are waited for

[coordinator]
name = {coordinator}
key = {key}

[statistics]             # of each site, once; the noise is the least that ε allows
epsilon = {epsilon}
delta = {delta}
unit = {unit}          # or patient, customer: all records of one, by the owner column of the dataset
most_records = {most_records}         # of one patient or customer so many records count, drawn at random
noise_multiplier = {noise}   # with more columns, or records of one, there is more noise in each count
{label}
# Ranges and lists are public: nothing here is derived from data.
{columns}
# One for each site: the key that `fedward site key` shows there, compared by telephone, and the declared
# number of records, or of patients or customers if these are the unit, which is public.
{participants}"""

PARTICIPANT = """\
[[participants]]
name = {name}
key = {key}
records = {records}
"""

STUDY = """\
# What concerns the coordinator alone; paths are relative to this folder.
key = {key}
gather_seconds = 60.0    # how long all sites are waited for at the start
"""


def columns(given: Iterable[str]) -> list[Column]:
    """The columns that are written as `COLUMN` says. Raises UsageError."""
    return [_column(text) for text in given]


def _column(text: str) -> Column:
    name, _, said = text.partition("=")
    kind, _, rest = said.partition(":")
    content: dict[str, object] = {"name": name, "kind": kind}
    if kind == "number":
        numbers = rest.split(":")
        content |= dict(zip(("low", "high", "bins"), numbers, strict=False))
        if len(numbers) > 3:
            raise UsageError(f"--column {text}: {COLUMN} is expected")
    else:
        content["values"] = tuple(rest.split(","))
    try:
        found: Column = TypeAdapter(Column).validate_python(content)
    except ValidationError as error:
        raise UsageError(f"--column {text}: {COLUMN} is expected: {describe(error)}") from error
    return found


def planned(
    columns: Sequence[Column],
    label: str | None,
    epsilon: float,
    delta: float,
    unit: Unit,
    most_records: int,
) -> StatisticsTerms:
    """The terms of a draft. Raises UsageError, or PrivacyError for an ε that no noise gives."""
    try:
        return planning.planned(columns, label, epsilon, delta, unit, most_records)
    except ValidationError as error:
        raise UsageError(f"statistics: {describe(error)}") from error


def draft(
    folder: Path,
    study: str,
    coordinator: str,
    key: Path,
    participants: Iterable[Participant],
    terms: StatisticsTerms,
    expires: str,
) -> None:
    """Writes both files; never over what is there. Raises UsageError."""
    for name in (DRAFT_FILE, STUDY_FILE):
        if (folder / name).exists():
            raise UsageError(f"{folder / name}: is there already and was left as it is")
    text = CHARTER.format(
        study=toml(study),
        expires=expires,
        coordinator=toml(coordinator),
        key=toml(SigningKey.load(key).public.text),
        epsilon=terms.epsilon,
        delta=terms.delta,
        unit=toml(terms.unit),
        most_records=terms.most_records,
        noise=terms.noise_multiplier,
        label=f"label = {toml(terms.label)}\n" if terms.label else "",
        columns="\n".join(map(_section, terms.columns)),
        participants="\n".join(
            PARTICIPANT.format(name=toml(p.name), key=toml(p.key), records=p.records)
            for p in participants
        ),
    )
    write_atomically(folder / DRAFT_FILE, text.encode())
    write_atomically(folder / STUDY_FILE, STUDY.format(key=toml(str(key.resolve()))).encode())


def _section(column: Column) -> str:
    fields = "".join(f"{name} = {toml(value)}\n" for name, value in column.model_dump().items())
    return f"[[statistics.columns]]\n{fields}"


def sign(folder: Path) -> StatisticsCharter:
    """Signs the draft in `folder`. Raises FedwardError; then nothing is written."""
    settings = read_settings(folder, StudySettings)
    path = folder / DRAFT_FILE
    charter = agreement.parse(agreement.read_toml(path), StatisticsCharter, str(path))
    charters.save(folder, charter, SigningKey.load(settings.key))
    return charter


def cost_in_words(charter: StatisticsCharter) -> str:
    """What each site's answer costs, and how much noise there is in it."""
    terms = charter.statistics
    return (
        f"each site's answer costs it ε = {charter.epsilon:g} at most, at δ = {charter.delta:g}; the "
        f"noise in a count of records is about ±{terms.count_noise:.1f}"
    )
