"""From the draft of a charter with sessions, of whichever kind, to the signed charter.

A draft is `charter.toml`, with comments, and `study.toml`; people edit both. `sign` signs the first.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from fedward_server.drafts import toml
from fedward_server.studies import STUDY_FILE, StudySettings, read_settings
from fedward_shared import agreement
from fedward_shared.agreement import DRAFT_FILE
from fedward_shared.charter_terms import Participant
from fedward_shared.errors import UsageError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.sessions import save

Drafted = TypeVar("Drafted", bound=SessionCharter)

PARTICIPANT = """\
[[participants]]
name = {name}
key = {key}
records = {records}
"""

STUDY = """\
# What concerns the coordinator alone; paths are relative to this folder.
key = {key}
gather_seconds = 60.0    # how long all parties are waited for at the start
"""


def write(folder: Path, charter: str, key: Path) -> None:
    """Writes both files of a draft; never over what is there. Raises UsageError."""
    for name in (DRAFT_FILE, STUDY_FILE):
        if (folder / name).exists():
            raise UsageError(f"{folder / name}: is there already and was left as it is")
    write_atomically(folder / DRAFT_FILE, charter.encode())
    write_atomically(folder / STUDY_FILE, STUDY.format(key=toml(str(key.resolve()))).encode())


def sign(folder: Path, kind: type[Drafted]) -> Drafted:
    """Signs the draft in `folder`. Raises FedwardError; then nothing is written."""
    settings = read_settings(folder, StudySettings)
    path = folder / DRAFT_FILE
    charter = agreement.parse(agreement.read_toml(path), kind, str(path))
    save(folder, charter, SigningKey.load(settings.key))
    return charter


def participants(those: Iterable[Participant]) -> str:
    """Their sections of a draft."""
    return "\n".join(
        PARTICIPANT.format(name=toml(p.name), key=toml(p.key), records=p.records) for p in those
    )
