"""The trusted side of statistics: booked before a record is read, noised here, signed, told once.

The noise is drawn on this side, so that counts without it never are in what the gate may let out.
"""

import numpy as np

from fedward_client.core import Counting
from fedward_client.ledger import Booking
from fedward_client.objections import left_out
from fedward_client.reconciliation import RESERVED
from fedward_client.site import Site
from fedward_shared import canonical
from fedward_shared.agreement import Agreement
from fedward_shared.assurances import epsilon_text
from fedward_shared.errors import CharterError, DataError
from fedward_shared.masked import Draws
from fedward_shared.messages import Counted
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.tally import ONCE, Found, StatisticsRequest, Tally, told


def checked(charter: Agreement) -> StatisticsCharter:
    """Raises CharterError for a charter of another kind."""
    if not isinstance(charter, StatisticsCharter):
        raise CharterError(f"charter {charter.study}: it asks for no statistics")
    return charter


def begin(site: Site, charter: StatisticsCharter, request: bytes) -> Counting | Counted:
    """Books the answer that the coordinator's signed `request` asks for; or the answer, if it was given.

    Raises as `permit` and `admit` of the site do, StatementError, and BudgetExceeded: also where an
    answer was booked and then lost, since the charter pays for one.
    """
    coordinator = charter.coordinator
    StatisticsRequest.read(
        request, charter.digest, coordinator.public_key, coordinator.name, "statistics request"
    )
    permission = site.permit(charter)
    kept = site.ledger.answer(charter.digest, ONCE, charter.digest)
    if kept is not None:
        site.log("sent again", charter=charter.digest, round=ONCE)
        return Counted(site.name, kept[0])
    file = site.admit(charter)
    booking = site.ledger.reserve(
        permission.account,
        permission.study,
        ONCE,
        charter.digest,
        charter.statistics.event,
        lambda made: site.log(RESERVED, study=charter.study, booking=made.as_json()),
    )
    dataset = permission.dataset
    return Counting(
        booking=booking,
        site=site.name,
        charter=charter,
        data=dataset.path,
        file=file,
        owner=None if charter.unit == "record" else dataset.owner,
        left_out=left_out(dataset),
        columns=dataset.columns,
    )


def finish(
    site: Site,
    charter: StatisticsCharter,
    booked: Booking,
    found: tuple[Found, ...],
    counts: bytes,
    randomness: Draws,
) -> Counted:
    """The answer of a booking that has none yet, of the `counts` (int64, little-endian) without noise.

    Raises PrivacyError or DataError for counts that are no answer to the charter; then nothing is told.
    """
    registered = site.ledger.registry.of(charter.dataset)
    if registered is None or len(counts) % 8 or len(found) != len(charter.statistics.columns):
        raise DataError(f"charter {charter.study}: counts of something else than its columns")
    layout, exact = Layout(charter.statistics), np.frombuffer(counts, "<i8").astype(np.int64)
    layout.check(exact, registered.records)
    numbers = layout.noised(exact, randomness)
    site.log(
        "cleared",
        study=charter.study,
        charter=charter.digest,
        round=ONCE,
        booking=booked.number,
        update=told(numbers),
        bytes=len(canonical.encode(numbers)),
        to=charter.coordinator.name,
    )
    spending = site.ledger.spending(booked.account)
    tally = Tally(
        charter=charter.digest,
        site=site.name,
        epsilon=epsilon_text(spending.epsilon),
        delta=repr(spending.delta),
        head=site.shown_head,
        found=found,
        numbers=tuple(numbers),
    ).signed(site.key)
    site.ledger.complete(booked.number, tally, b"")
    return Counted(site.name, tally)
