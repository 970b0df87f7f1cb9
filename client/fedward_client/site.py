"""A site: its settings, ledger, approved charters and source of randomness in one place."""

from collections.abc import Callable
from pathlib import Path

from fedward_client import settings as site_settings
from fedward_client.charters import ApprovedCharters
from fedward_client.ledger import Ledger
from fedward_client.settings import SiteSettings
from fedward_shared.errors import StateError
from fedward_shared.privacy.randomness import Randomness

LEDGER_FILE = "ledger.sqlite"
CHARTERS_FOLDER = "charters"
CACHE_FOLDER = "cache"

RandomnessSource = Callable[[str], Randomness]
"""A fresh stream for the training that is named by its label."""


def from_os(_label: str) -> Randomness:
    """The source of every deployed site. No file, option or message can name another."""
    return Randomness.from_os()


class Site:
    """Opened from its `site.toml`. Raises UsageError or StateError.

    A ledger is begun before the first charter is approved, and never after.
    """

    def __init__(self, settings: SiteSettings, randomness: RandomnessSource = from_os) -> None:
        self.settings = settings
        self.randomness = randomness
        self.charters = ApprovedCharters(settings.state / CHARTERS_FOLDER)
        self.ledger = self._open_ledger(settings.state / LEDGER_FILE)

    def _open_ledger(self, path: Path) -> Ledger:
        if not path.exists() and not self.charters.is_empty:
            raise StateError(
                f"{path}: the ledger is gone, but charters were approved here, so what was spent is "
                "unknown. Restore it from a backup; if there is none, ask the data-protection "
                f"officer before you move {path.parent} away, which forgets all approvals and all "
                "that was spent"
            )
        return Ledger(path)

    @classmethod
    def open(cls, path: Path, randomness: RandomnessSource = from_os) -> "Site":
        """The site whose settings are in the file `path`."""
        return cls(site_settings.load(path), randomness)

    @property
    def name(self) -> str:
        """The institution's name in charters."""
        return self.settings.name

    @property
    def cache(self) -> Path | None:
        """Where prepared records are kept between processes, if the site wants that."""
        return self.settings.state / CACHE_FOLDER if self.settings.keep_prepared else None

    def close(self) -> None:
        """Closes the ledger."""
        self.ledger.close()
