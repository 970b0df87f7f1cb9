"""The draft of a study of duplicates, and what it tells whom, in words."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from fedward_server.drafts import toml
from fedward_server.sessions import drafting
from fedward_shared.charter_terms import Participant
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.duplicates.terms import DuplicatesTerms
from fedward_shared.errors import UsageError
from fedward_shared.identity import SigningKey
from fedward_shared.terms import describe
from fedward_shared.text import BANDS

SIZE_STEP = 1000
"""A draft has the sites show how many documents they hold to the next multiple of this."""

CHARTER = """\
# The draft of the charter of a study in which each site learns which of its documents are nearly
# another site's. Edit it, then `fedward study sign`. What is signed is what the sites approve; these
# comments are not part of it.
version = 1
study = {study}
purpose = ""             # what the result is for, in a sentence that an ethics board understands
use = "research"         # the same in one word; sites allow datasets for uses
legal_basis = ""         # for example: GDPR Art. 6(1)(f), decision 2026-117 of the privacy board
expires = {expires}     # the study may run until the end of this day, UTC
dataset = "records"      # what the sites call their data

[coordinator]
name = {coordinator}
key = {key}

[exchange]
patience_seconds = 3600.0    # how long the others wait for a site that is away, or computes
deadline_seconds = 86400.0   # how long the session may take

# NOT covered by ε: who shows documents learns which of them are nearly another site's.
[duplicates]
columns = {columns}       # roles whose texts make a document; each site has them in columns of its own
seed = {seed}          # draws the permutations; no secret
least = {least}                # of {bands} keys in common, from which on a site is told of a document
shortest = {shortest}            # shingles below which a text takes no part; each is three words
most = {most}             # documents that a site may show in a session
step = {step}              # it shows their number as the next multiple of this
sessions = {sessions}             # how often they may be compared; each may be a new guess

# One for each site: the key that `fedward site key` shows there, compared by telephone, and the declared
# number of its records, which is public.
{participants}"""


def agreed(
    participants: Sequence[Participant], columns: Sequence[str], seed: int, sessions: int
) -> DuplicatesTerms:
    """What the sites agree on, with sizes that fit the largest of them. Raises UsageError."""
    largest = max(participant.records for participant in participants)
    content = {
        "columns": tuple(columns),
        "seed": seed,
        "most": largest,
        "step": min(SIZE_STEP, largest),
        "sessions": sessions,
    }
    try:
        return DuplicatesTerms.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"duplicates: {describe(error)}") from error


def draft(
    folder: Path,
    study: str,
    coordinator: str,
    key: Path,
    participants: Sequence[Participant],
    terms: DuplicatesTerms,
    expires: str,
) -> None:
    """Writes both files of the draft; never over what is there. Raises UsageError."""
    text = CHARTER.format(
        study=toml(study),
        expires=expires,
        coordinator=toml(coordinator),
        key=toml(SigningKey.load(key).public.text),
        bands=BANDS,
        **{name: toml(value) for name, value in terms.model_dump().items()},
        participants=drafting.participants(participants),
    )
    drafting.write(folder, text, key)


def cost_in_words(charter: DuplicatesCharter) -> str:
    """What the study tells, which no ε says."""
    terms = charter.duplicates
    return (
        f"NOT covered by ε: in each of {terms.sessions} sessions each site learns which of its "
        f"documents, of {terms.most:,} at most, are nearly another's"
    )
