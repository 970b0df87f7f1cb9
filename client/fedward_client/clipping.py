"""Where adaptive clipping has come to in each study, kept from one round to the next.

A round begins with the norms that the last one of its study ended with: what a site's gradients need is
known by then, and a round is too short to find it anew. The norms come from noisy counts that were
booked, so keeping or losing them costs nothing; without them the study goes on from the charter's.
"""

from pathlib import Path

from fedward_shared.canonical import DIGEST_PREFIX
from fedward_shared.charter import Charter
from fedward_shared.errors import PrivacyError, StateError
from fedward_shared.files import write_atomically
from fedward_shared.privacy import clipping


class ClippingNorms:
    """A file for each study, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, charter: Charter) -> str:
        """What was kept last, as `clipping.norms_text` writes it. Raises StateError."""
        path = self._place(charter)
        if charter.privacy.adaptive_clipping is None or not path.is_file():
            return ""
        try:
            text = path.read_bytes().decode()
            clipping.read_norms(text)
        except (OSError, UnicodeDecodeError, PrivacyError) as error:
            raise StateError(
                f"{path}: cannot be read: {error}; without the file the study goes on from the "
                "charter's clipping norm"
            ) from error
        return text

    def keep(self, charter: Charter, norms: str) -> None:
        """Keeps what a round has ended with. Raises PrivacyError for what is no norms."""
        if charter.privacy.adaptive_clipping is not None and clipping.read_norms(norms):
            write_atomically(self._place(charter), norms.encode())

    def _place(self, charter: Charter) -> Path:
        return self._folder / f"{charter.digest.removeprefix(DIGEST_PREFIX)}.json"
