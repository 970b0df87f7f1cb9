"""What drafts of all kinds of charters have in common."""

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

from fedward_shared.agreement import DRAFT_FILE


def sections(folder: Path) -> frozenset[str]:
    """What the draft in `folder` speaks of; nothing for a file that cannot be read: whoever reads it as
    a draft of some kind says what is wrong with it."""
    try:
        return frozenset(tomllib.loads((folder / DRAFT_FILE).read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return frozenset()


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
