"""A site: its settings, key, ledger, approved charters and clock in one place."""

import hmac
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fedward_client import keys, limits, policy, population, reconciliation
from fedward_client import settings as site_settings
from fedward_client.charters import ApprovedCharters
from fedward_client.clipping import ClippingNorms
from fedward_client.keys import Secrets
from fedward_client.ledger import Ledger, now
from fedward_client.policy import Permission
from fedward_client.reconciliation import REGISTERED, WITNESSED, Witness
from fedward_client.registry import Registration
from fedward_client.settings import SiteSettings
from fedward_shared.agreement import Agreement
from fedward_shared.audit import KEY_CHANGED, AuditLog
from fedward_shared.errors import DataError, StateError

AUDIT_FILE = "audit.jsonl"
LEDGER_FILE = "ledger.sqlite"
CHARTERS_FOLDER = "charters"
CLIPPING_FOLDER = "clipping"


class Site:
    """Opened from its `site.toml`. Raises IdentityError, UsageError or StateError.

    A ledger is begun before the first charter is approved, and never after. Ledger, audit log and
    witness have to fit (`reconciliation.py`), except for the recovery of a site where they do not.
    """

    def __init__(
        self,
        settings: SiteSettings,
        clock: Callable[[], datetime] = now,
        recovering: bool = False,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.key = keys.load(settings)
        self.charters = ApprovedCharters(
            settings.state / CHARTERS_FOLDER, settings.name, self.key, clock
        )
        self.clipping = ClippingNorms(settings.state / CLIPPING_FOLDER)
        self.audit = AuditLog(settings.state / AUDIT_FILE, self.key)
        self.secrets = Secrets(settings.key, self.key, self._kept_secrets)
        self._blinding = self.secrets.derive("audit head")
        ledger = settings.state / LEDGER_FILE
        self.ledger = Ledger(ledger, clock) if recovering else self._open_ledger(ledger)
        self.witness = Witness(settings.witness) if settings.witness else None
        if not recovering:
            self._check_fit()

    def _check_fit(self) -> None:
        mended = reconciliation.check(self.ledger, self.audit, self.witness)
        if mended is not None:
            at = reconciliation.position(self.ledger)
            self.log(mended, number=at.number, registrations=at.registrations)
        if self.witness and not self.witness.path.exists():
            self.log(WITNESSED, place=str(self.witness.path))

    def _open_ledger(self, path: Path) -> Ledger:
        if not path.exists() and (self.audit.entries or not self.charters.is_empty):
            raise StateError(
                f"{path}: the ledger is gone, but charters were decided about here, so what was spent "
                f"is unknown. {reconciliation.ADVICE}"
            )
        return Ledger(path, self.clock)

    @classmethod
    def open(cls, path: Path) -> "Site":
        """The site whose settings are in the file `path`."""
        return cls(site_settings.load(path))

    def log(self, event: str, **details: object) -> None:
        """Writes to the audit log, and its head to the witness. Raises AuditError or StateError."""
        entry = self.audit.append(event, details, self.clock())
        if self.witness:
            self.witness.write(entry.head)

    @property
    def shown_head(self) -> str:
        """The head of the audit log as others may see it."""
        return self.audit.head.blinded(self._blinding)

    def check_shown(self, head: str) -> None:
        """Raises StateError unless `head` was shown by the log as it is here."""
        for entry in reversed(self.audit.entries):
            if hmac.compare_digest(entry.head.blinded(self._blinding), head):
                return
        raise StateError(
            f"{self.audit.path}: a coordinator has a head of this log that is not in it: an older copy "
            f"was put here. {reconciliation.ADVICE}"
        )

    @property
    def _kept_secrets(self) -> str | None:
        """The digest of what the last rotation of the key has kept."""
        for entry in reversed(self.audit.entries):
            if entry.event == KEY_CHANGED:
                return str(entry.details.get("secrets"))
        return None

    def register(self, name: str) -> tuple[Registration, bool]:
        """Registers the dataset called so as it is now; whether it was not before. Raises DataError."""
        dataset = self.settings.datasets.get(name)
        if dataset is None:
            raise DataError(f"site.toml: datasets.{name}: there is none of that name")
        return population.register(
            self.ledger,
            self.secrets.derive("record fingerprints"),
            name,
            dataset,
            lambda made: self.log(REGISTERED, registration=made.as_json()),
        )

    def permit(self, charter: Agreement) -> Permission:
        """What this site allows for `charter` now. Raises as `policy.permit` does."""
        return policy.permit(charter, self.settings, self.key.public, self.clock())

    def admit(self, charter: Agreement) -> str:
        """Whether a round of `charter`, which is permitted, may begin now, before it is booked.

        Gives the digest that the file of its dataset has to have when it is read. Raises NotNow, or
        DataError unless the dataset is registered as it is.
        """
        limits.check_now(self.settings, self.ledger, self.clock())
        return self.registered(charter)

    def registered(self, charter: Agreement) -> str:
        """The digest of the charter's dataset. Raises DataError unless it is registered as it is."""
        dataset = self.settings.datasets[charter.dataset]
        return population.check_registered(self.ledger, charter.dataset, dataset)

    @property
    def name(self) -> str:
        """The institution's name in charters."""
        return self.settings.name

    def close(self) -> None:
        """Closes ledger and audit log."""
        self.ledger.close()
        self.audit.close()
