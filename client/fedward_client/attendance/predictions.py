"""What is particular to a prediction at a site: what is asked, of which model, and how often."""

from dataclasses import dataclass
from pathlib import Path

from fedward_client.attendance.outcomes import Kept
from fedward_client.attendance.queries import Queries
from fedward_client.ledger import Ledger
from fedward_client.site import Site
from fedward_shared.assurances import SessionRequest
from fedward_shared.errors import BudgetExceeded
from fedward_shared.vertical.charter import VerticalCharter

NEW = ""
"""The request of a session that has booked nothing."""


@dataclass(frozen=True)
class Asked:
    """The kept model and, at the active party, the file that is asked about; in training neither."""

    model: bytes = b""
    file: Path | None = None
    query: bytes = b""


def asked(site: Site, charter: VerticalCharter, request: SessionRequest) -> Asked:
    """What a session is to ask here. Raises ModelError for a model that is not here, and DataError where
    nobody asks anything."""
    if request.model is None:
        return Asked()
    model = Kept(site.settings.state, charter.digest, request.model).model
    if site.name != charter.vertical.active:
        return Asked(model)
    file = Queries(site.settings.state, charter.digest).taken(request.session)
    return Asked(model, file, file.read_bytes())


def booked_before(ledger: Ledger, charter: VerticalCharter, site: str, request: str) -> int:
    """After how many bookings of the study those of the prediction known as `request` come: a new one
    comes last, one that has begun where it was.

    Raises BudgetExceeded for a new one where the charter's are used up, by the site's own ledger.
    """
    terms = charter.vertical
    fitted, each = len(terms.fitted(site)), len(terms.predicted(site))
    known = ledger.requests_after(charter.digest, fitted)
    if request not in known and len(known) >= terms.predictions:
        raise BudgetExceeded(
            f"charter {charter.study}: vertical.predictions is {terms.predictions}, and {len(known)} "
            "were answered here"
        )
    return fitted + each * (known.index(request) if request in known else len(known))
