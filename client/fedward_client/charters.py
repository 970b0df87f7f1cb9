"""The charters that this site has approved: a folder of copies, one for each digest."""

from pathlib import Path

from fedward_shared import charter as charters
from fedward_shared.charter import CHARTER_FILE, INITIAL_FILE, Charter
from fedward_shared.errors import CharterError
from fedward_shared.files import write_atomically
from fedward_shared.tensors import Tensors


class ApprovedCharters:
    """What the people at the site have approved, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def approve(self, source: Path) -> Charter:
        """Keeps a copy of the charter in `source`. Raises CharterError if it is not valid."""
        charter, _ = charters.load(source)
        target = self._place(charter.digest)
        write_atomically(target / INITIAL_FILE, (source / INITIAL_FILE).read_bytes())
        write_atomically(target / CHARTER_FILE, (source / CHARTER_FILE).read_bytes())
        return charter

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever approved here."""
        return not any(self._folder.glob("*"))

    def load(self, digest: str) -> tuple[Charter, Tensors]:
        """The approved charter with this digest and its initial tensors.

        Raises CharterError if the site has approved no such charter, or its copy has changed.
        """
        target = self._place(digest)
        if not (target / CHARTER_FILE).is_file():
            raise CharterError(
                f"charter {digest} is not approved here; `fedward site approve` would do that"
            )
        charter, initial = charters.load(target)
        if charter.digest != digest:
            raise CharterError(f"{target}: the copy of the charter has changed")
        return charter, initial

    def _place(self, digest: str) -> Path:
        if len(digest) != 71 or not digest.removeprefix("sha256:").isalnum():
            raise CharterError("that is no charter's digest")
        return self._folder / digest.removeprefix("sha256:")
