"""Which studies this coordinator has launched: a link to each, named by the digest of its charter.

A run's configuration reaches the sites too, so what it names is the charter's digest, which they know,
and not a path of this machine. The links lie in `$FEDWARD_STUDIES` (`~/.fedward/studies`).
"""

import os
import re
from pathlib import Path

from fedward_shared.errors import UsageError
from fedward_shared.terms import DIGEST_PATTERN

STUDY_KEY = "study"
"""The run configuration has the digest of the study's charter under this key."""

STUDIES_VARIABLE = "FEDWARD_STUDIES"
DEFAULT_STUDIES = Path("~/.fedward/studies")
DIGEST = re.compile(DIGEST_PATTERN)


def register(folder: Path, digest: str) -> None:
    """Makes the study in `folder`, whose charter has this digest, known to the ServerApps here.

    Raises UsageError for something that is no digest.
    """
    place = _link(digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    fresh.symlink_to(folder.resolve())
    fresh.replace(place)


def registered(digest: str) -> Path:
    """The folder of the study that was registered so. Raises UsageError."""
    place = _link(digest)
    if not place.is_dir():
        raise UsageError(
            f"{place}: no such study; start it with `fedward study launch`, with the same "
            f"{STUDIES_VARIABLE} as the SuperExec of the coordinator"
        )
    return place.resolve()


def all_registered() -> list[Path]:
    """The folders of all studies that `register` has made known and that are still there."""
    return [link.resolve() for link in sorted(_home().glob("*")) if link.is_dir()]


def _home() -> Path:
    return Path(os.environ.get(STUDIES_VARIABLE) or DEFAULT_STUDIES).expanduser()


def _link(digest: str) -> Path:
    if not DIGEST.fullmatch(digest):
        raise UsageError(f"{digest!r} names no study: a charter's digest is expected")
    return _home() / digest.partition(":")[2]
