"""The app bundle that Flower hands to a site. It is let in if it is, byte for byte, a released one.

Flower puts a bundle's folder first on `sys.path`: a bundle with a `fedward_client/app.py` would run in
place of the package that the institution has installed. So no bundle is judged by what it seems to do.
"""

import io
import json
import zipfile
from functools import cache
from importlib.resources import files

from fedward_shared import canonical
from fedward_shared.errors import BundleRefused

HARMLESS = frozenset({"pyproject.toml", ".info/CONTENT"})
SHOWN = 5


@cache
def released() -> dict[str, str]:
    """Release → digest of its bundle, for this release and those that it still works with."""
    content: dict[str, str] = json.loads((files(__package__) / "bundles.json").read_text("utf-8"))
    return content


def check(content: bytes) -> None:
    """Raises BundleRefused, saying what is in it, for a bundle that no release has."""
    digest = canonical.digest(content)
    if digest in released().values():
        return
    known = ", ".join(released())
    raise BundleRefused(
        f"the coordinator's app bundle ({digest}, {len(content)} bytes) is refused: {_found(content)}. "
        f"This site lets in the bundles of fedward {known}, which hold no code. Ask the coordinator for "
        "its release; nothing of this bundle was unpacked or run"
    )


def _found(content: bytes) -> str:
    """What a person wants to know of it; only the table of contents is read."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = sorted(set(archive.namelist()) - HARMLESS)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OverflowError):
        return "it is no zip file"
    if not names:
        return "it holds no code, but is of another release or was changed"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "it carries " + ", ".join(repr(name[:80]) for name in names[:SHOWN]) + more
