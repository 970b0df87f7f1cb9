"""From the parties' tables to the draft of a vertical study, and what it costs them, in words."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedward_server.drafts import toml
from fedward_server.sessions import drafting
from fedward_shared.charter_terms import WITHOUT_DP, Participant
from fedward_shared.errors import CharterError, UsageError
from fedward_shared.identity import SigningKey
from fedward_shared.psi.identifiers import RULES
from fedward_shared.terms import Terms, describe
from fedward_shared.vertical import planning
from fedward_shared.vertical.charter import VerticalCharter
from fedward_shared.vertical.columns import TableTerms
from fedward_shared.vertical.terms import BINARY, EveryBatchTerms, VerticalTerms

SIZE_STEP = 100
"""A draft has the parties show how many records they hold to the next multiple of this."""

CHARTER = """\
# The draft of the charter of a vertical study. Edit it, then `fedward study sign`. What is signed is
# what the parties approve; these comments are not part of it.
version = 1
study = {study}
purpose = ""             # what the result is for, in a sentence that an ethics board understands
use = "research"         # the same in one word; sites allow datasets for uses
legal_basis = ""         # for example: GDPR Art. 6(1)(f), decision 2026-117 of the privacy board
expires = {expires}     # the study may run until the end of this day, UTC
dataset = "records"      # what the parties call their data
{without_dp}
[coordinator]
name = {coordinator}
key = {key}

[exchange]
patience_seconds = 600.0     # how long the others wait for a party that is away
deadline_seconds = 86400.0   # how long the session may take

[vertical]
active = {active}
label = {label}
classes = {classes}     # its values; class_weights, a number for each, would say how much it counts
predictions = {predictions}          # how often the model may be asked later; the others pay for each

[vertical.alignment]
rules = {rules}   # how the parts of an identifier are written: {known}
most = {most}             # records that a party may show to the others
step = {step}              # it shows their number as the next multiple of this
least = {least}             # with fewer people in common nothing is trained

[vertical.fitting]
epochs = {epochs}
batch = {batch}

{privacy}# What each party holds, in its own words: nothing here is derived from data.
[vertical.table]         # of {active}
{table}
{passive}
# One for each party: the key that `fedward site key` shows there, compared by telephone, and the
# declared number of its records, which is public.
{participants}"""

PRIVACY = """\
[vertical.privacy]       # of each party, predictions included; the noise is the least that ε allows
{fields}

"""

PASSIVE = """
[[vertical.passive]]
name = {name}
[vertical.passive.table]
{table}
"""


def tables(named: Iterable[str]) -> dict[str, TableTerms]:
    """The columns of each party, as it has written them: of `NAME=FILE`. Raises UsageError."""
    found: dict[str, TableTerms] = {}
    for text in named:
        name, _, file = text.partition("=")
        if not name or not file or name in found:
            raise UsageError(f"--table {text}: NAME=FILE is expected, once for each party")
        found[name] = _table(Path(file))
    return found


def _table(path: Path) -> TableTerms:
    try:
        return TableTerms.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error)}") from error


def agreed(
    held: Mapping[str, TableTerms],
    active: str,
    label: str,
    rules: list[str],
    participants: Sequence[Participant],
    classes: Sequence[str] = BINARY,
    predictions: int = 0,
) -> VerticalTerms:
    """What the parties agree on, without DP for now. Raises UsageError."""
    names = {participant.name for participant in participants}
    if held.keys() != names or active not in names:
        raise UsageError(
            f"participants are {', '.join(sorted(names))}: each has a --table and nobody else has, "
            "and --active is one of them"
        )
    largest = max(participant.records for participant in participants)
    content = {
        "active": active,
        "label": label,
        "classes": tuple(classes),
        "table": held[active],
        "passive": [{"name": name, "table": held[name]} for name in held if name != active],
        "alignment": {
            "rules": rules,
            "most": largest,
            "step": SIZE_STEP,
        },
        "predictions": predictions,
    }
    try:
        made = VerticalTerms.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"vertical: {describe(error)}") from error
    except CharterError as error:
        raise UsageError(str(error)) from error
    return made


def protected(
    made: VerticalTerms, epsilon: float, delta: float, every_batch: bool, records: int
) -> VerticalTerms:
    """The same under DP, where a party has about so many `records`. Raises PrivacyError."""
    asked = made.predictions
    privacy = (
        planning.every_batch(epsilon, delta, made.fitting.epochs, asked)
        if every_batch
        else planning.once(epsilon, delta, made.fitting.split(records)[0], len(made.classes), asked)
    )
    return made.model_copy(update={"privacy": privacy})


def draft(
    folder: Path,
    study: str,
    coordinator: str,
    key: Path,
    participants: Iterable[Participant],
    made: VerticalTerms,
    expires: str,
) -> None:
    """Writes both files; never over what is there. Raises UsageError."""
    alignment, fitting = made.alignment, made.fitting
    text = CHARTER.format(
        study=toml(study),
        expires=expires,
        without_dp="" if made.privacy else f"without_dp = {toml(WITHOUT_DP)}\n",
        coordinator=toml(coordinator),
        key=toml(SigningKey.load(key).public.text),
        active=toml(made.active),
        label=toml(made.label),
        classes=toml(made.classes),
        predictions=made.predictions,
        rules=toml(alignment.rules),
        known=", ".join(RULES),
        most=alignment.most,
        step=alignment.step,
        least=alignment.least,
        epochs=fitting.epochs,
        batch=fitting.batch,
        privacy=PRIVACY.format(fields=_fields(made.privacy)) if made.privacy else "",
        table=_columns(made.table),
        passive="".join(
            PASSIVE.format(name=toml(party.name), table=_columns(party.table))
            for party in made.passive
        ),
        participants=drafting.participants(participants),
    )
    drafting.write(folder, text, key)


def cost_in_words(charter: VerticalCharter) -> str:
    """What the study costs each party."""
    if charter.epsilon is None:
        return WITHOUT_DP
    asked = charter.vertical.predictions
    how = "for every batch" if isinstance(charter.vertical.privacy, EveryBatchTerms) else "once"
    return (
        f"the training and {asked} predictions cost each party ε = {charter.epsilon:g} at most, at δ = "
        f"{charter.delta:g}: in training, what it says of a {charter.unit} leaves it {how}"
    )


def _columns(table: TableTerms) -> str:
    """The fields of a table, a column in a line."""
    columns = "".join(f"  {toml(_said(column))},\n" for column in table.columns)
    return f"pieces = {table.pieces}\ncolumns = [\n{columns}]"


def _said(terms: Terms) -> dict[str, Any]:
    """What somebody has said, and the kind."""
    return {"kind": terms.model_dump()["kind"], **terms.model_dump(exclude_unset=True)}


def _fields(terms: Terms) -> str:
    return "\n".join(f"{name} = {toml(value)}" for name, value in terms.model_dump().items())
