"""From the draft of a charter with sessions, of whichever kind, to the signed charter.

A draft is `charter.toml`, with comments, and `study.toml`; people edit both. `sign` signs the first.
"""

import json
import tomllib
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from fedward_server.studies import STUDY_FILE, StudySettings, read_settings
from fedward_shared import agreement
from fedward_shared.agreement import DRAFT_FILE
from fedward_shared.charter_terms import Participant
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import UsageError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.sessions import save
from fedward_shared.vertical.charter import VerticalCharter

SECTIONS: dict[str, type[SessionCharter]] = {
    "vertical": VerticalCharter,
    "duplicates": DuplicatesCharter,
}
"""The section of a draft by which its kind is known."""

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


def kind_of(folder: Path) -> type[SessionCharter] | None:
    """The kind that is drafted in `folder`; None for one without sessions, or what cannot be read."""
    try:
        content = tomllib.loads((folder / DRAFT_FILE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None  # whoever reads it as the other kind says what is wrong with it
    return next((kind for section, kind in SECTIONS.items() if section in content), None)


def write(folder: Path, charter: str, key: Path) -> None:
    """Writes both files of a draft; never over what is there. Raises UsageError."""
    for name in (DRAFT_FILE, STUDY_FILE):
        if (folder / name).exists():
            raise UsageError(f"{folder / name}: is there already and was left as it is")
    write_atomically(folder / DRAFT_FILE, charter.encode())
    write_atomically(folder / STUDY_FILE, STUDY.format(key=toml(str(key.resolve()))).encode())


def sign(folder: Path, kind: type[SessionCharter]) -> SessionCharter:
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


def toml(value: Any) -> str:
    """A value of TOML, on one line; JSON's quoting is TOML's, too."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case date():
            return value.isoformat()
        case dict():
            return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(map(toml, value)) + "]"
        case _:
            return repr(value)
