"""How many sessions for one purpose a charter has, as the site's own ledger counts them."""

from fedward_client.ledger import Ledger
from fedward_shared.assurances import Purpose
from fedward_shared.errors import BudgetExceeded
from fedward_shared.exchange.charter import SessionCharter

NEW = ""
"""The request of a session that has booked nothing."""


def booked_before(
    ledger: Ledger, charter: SessionCharter, site: str, purpose: Purpose, request: str
) -> int:
    """After how many bookings of the study those of the session known as `request` come: a new one
    comes last, one that has begun where it was.

    Raises BudgetExceeded for a new one where the charter's are used up.
    """
    series = charter.series(site, purpose)
    if series is None:
        return 0
    known = ledger.requests_after(charter.digest, series.before)
    if request not in known and len(known) >= series.most:
        raise BudgetExceeded(
            f"charter {charter.study}: {series.term} is {series.most}, and {len(known)} were held here"
        )
    return series.before + series.each * (known.index(request) if request in known else len(known))
