"""What is particular to a prediction at a site: what is asked, and of which model."""

from dataclasses import dataclass
from pathlib import Path

from fedward_client.attendance.outcomes import Kept
from fedward_client.attendance.queries import Queries
from fedward_client.site import Site
from fedward_shared.assurances import SessionRequest
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.vertical.charter import VerticalCharter


@dataclass(frozen=True)
class Asked:
    """The kept model and, at the active party, the file that is asked about; otherwise neither."""

    model: bytes = b""
    file: Path | None = None
    query: bytes = b""


def asked(site: Site, charter: SessionCharter, request: SessionRequest) -> Asked:
    """What a session is to ask here. Raises ModelError for a model that is not here, and DataError where
    nobody asks anything."""
    if request.model is None or not isinstance(charter, VerticalCharter):
        return Asked()
    model = Kept(site.settings.state, charter, request.model).model
    if site.name != charter.vertical.active:
        return Asked(model)
    file = Queries(site.settings.state, charter).taken(request.session)
    return Asked(model, file, file.read_bytes())
