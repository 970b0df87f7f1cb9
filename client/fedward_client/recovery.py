"""Going on at a site whose ledger, audit log and witness do not fit, once people have decided to."""

import math
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from fedward_client import reconciliation
from fedward_client import settings as site_settings
from fedward_client.ledger import Limit
from fedward_client.reconciliation import RECOVERED
from fedward_client.site import Site
from fedward_shared.privacy.plan import UNKNOWN


def recover(path: Path, reason: str, by: str) -> list[str]:
    """Recovers the site with the settings in `path`; says in sentences what was done.

    What the audit log has and the ledger lacks is booked. Unless a witness confirms that the log is the
    newest, nobody knows what else was spent: every account is closed for good. Fingerprints that are
    lost are not in the log: whoever decided has to see to it that the files are registered again.
    Raises FedwardError.
    """
    with closing(Site(site_settings.load(path), recovering=True)) as site:
        done = reconciliation.recover(site.ledger, site.audit, site.witness)
        said = [f"bookings that the audit log has and the ledger lacked, now booked: {done.booked}"]
        if done.lost:
            said.append(
                f"registrations of which the fingerprints are lost: {done.lost}. Register every dataset "
                "that was ever trained on (`fedward site register`) before any new one"
            )
        closed = [] if done.newest else sorted({d.account for d in site.settings.datasets.values()})
        for account in closed:
            _close(site, account)
            said.append(f"account {account}: closed for good, because what was spent is unknown")
        at = reconciliation.position(site.ledger)
        site.log(RECOVERED, **asdict(at), lost=done.lost, reason=reason, by=by, closed=closed)
    return said


def _close(site: Site, account: str) -> None:
    delta = next(d.delta for d in site.settings.datasets.values() if d.account == account)
    everything = Limit(account, "recovery", math.inf, delta)
    site.ledger.reserve(everything, replace(everything, name=RECOVERED), 0, RECOVERED, UNKNOWN)
