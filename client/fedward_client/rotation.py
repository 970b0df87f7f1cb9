"""A new signing key for the site, in steps that a crash may cut off anywhere.

The new key lies beside the old one until the audit log has the change, which both keys have signed;
then it takes the old one's place. Approved charters name the old key: none of them is run any more, and
what was set aside for them is free again.
"""

from contextlib import closing
from pathlib import Path

from fedward_client import keys
from fedward_client import settings as site_settings
from fedward_client.ledger import Ledger
from fedward_client.settings import SiteSettings
from fedward_client.site import AUDIT_FILE, LEDGER_FILE, Site
from fedward_shared import audit, key_change
from fedward_shared.audit import KEY_CHANGED
from fedward_shared.identity import PublicKey, SigningKey
from fedward_shared.key_change import KeyChange


def rotate(path: Path) -> tuple[PublicKey, PublicKey]:
    """Replaces the key of the site with the settings in `path`; the old one and the new one.

    A rotation that was cut off is ended with the key that it had made. Raises FedwardError.
    """
    settings = site_settings.load(path)
    old = keys.load(settings)
    new = _next_key(settings)
    if not _is_announced(settings, old.public, new.public):
        with closing(Site(settings)) as site:
            at = site.clock().isoformat(timespec="seconds")
            change = KeyChange(site=site.name, old=old.public.text, new=new.public.text, at=at)
            secrets = site.secrets.keep()
            site.log(KEY_CHANGED, change=change.signed(old, new).decode(), secrets=secrets)
    with closing(Ledger(settings.state / LEDGER_FILE)) as ledger:
        ledger.release_all()
    _place(settings).replace(settings.key)
    return old.public, new.public


def _place(settings: SiteSettings) -> Path:
    return settings.key.with_name(f"{settings.key.name}.new")


def _next_key(settings: SiteSettings) -> SigningKey:
    place, passphrase = _place(settings), keys.passphrase(settings.key_passphrase)
    if not place.exists():
        SigningKey.generate().save(place, passphrase)
    return SigningKey.load(place, passphrase)


def _is_announced(settings: SiteSettings, old: PublicKey, new: PublicKey) -> bool:
    """Whether the audit log has this change already."""
    log = settings.state / AUDIT_FILE
    entries = audit.read(log, old) if log.exists() else []
    changes = [entry for entry in entries if entry.event == KEY_CHANGED]
    if not changes:
        return False
    last = key_change.read(
        str(changes[-1].details["change"]).encode(), changes[-1].signer, str(log)
    )
    return last.new == new.text
