"""The trusted side of a site: policy → ledger → keys → egress, for a worker that has none of them.

It holds no state between two calls, but for seats in sessions (`attendance`): each
opens the site anew, so that what people decide and change meanwhile counts at once, and an older copy of
ledger or log that is put there is noticed at once.
"""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import structlog
from pydantic import ValidationError

from fedward_client import egress, keys, limits, objections, policy
from fedward_client.attendance.outcomes import Kept
from fedward_client.attendance.seat import AttendedSession, take
from fedward_client.core import Counting, Grant, Offer
from fedward_client.exchange import journal as journals
from fedward_client.exchange.connection import Dial
from fedward_client.ledger import Booking, now
from fedward_client.masking import Masks
from fedward_client.reconciliation import RESERVED
from fedward_client.settings import SiteSettings
from fedward_client.site import Site
from fedward_client.statistics import telling
from fedward_shared import canonical, tensors
from fedward_shared.agreement import Agreement
from fedward_shared.assurances import (
    Delivery,
    Objection,
    Presence,
    Receipt,
    RoundRequest,
    SessionRequest,
    epsilon_text,
    parties_done,
)
from fedward_shared.charter import Charter
from fedward_shared.errors import CharterError, FedwardError, RefusalCode, StateError
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.masked import Draws
from fedward_shared.messages import (
    UNSHARED,
    Counted,
    Hello,
    MaskAnswer,
    MaskRequest,
    MessageError,
    Noted,
    ReceiptNote,
    Refusal,
    SessionDone,
    Sharing,
    Update,
    Welcome,
)
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.statistics.tally import Found
from fedward_shared.tensors import Arrays

log = structlog.get_logger()


class Trusted:
    """The `core.Core` of the site whose settings `settings` reads.

    With a `coordinator`, for the studies of that one alone: in deployment each has a worker of its own.
    `randomness` rounds what is masked: a simulation's comes from its seed, as that of its training does.
    """

    def __init__(
        self,
        settings: Callable[[], SiteSettings],
        clock: Callable[[], datetime] = now,
        coordinator: str | None = None,
        randomness: Callable[[str], Draws] = lambda _: Randomness.from_os(),
        dial: Dial | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._coordinator = coordinator
        self._randomness = randomness
        self._dial = dial
        self._seats: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def _site(self) -> Iterator[Site]:
        site = Site(self._settings(), self._clock)
        try:
            yield site
        finally:
            site.close()

    def _rounds(self, found: tuple[Agreement, Arrays]) -> tuple[Charter, Arrays]:
        """Raises CharterError for a study that has no rounds, or is another coordinator's."""
        charter, initial = self._own(found)
        if not isinstance(charter, Charter):
            raise CharterError(f"charter {charter.study}: it has no rounds")
        return charter, initial

    def _own(self, found: tuple[Agreement, Arrays]) -> tuple[Agreement, Arrays]:
        """Raises CharterError for a study of another coordinator than this worker's."""
        charter, _ = found
        if self._coordinator not in (None, charter.coordinator.name):
            raise CharterError(
                f"charter {charter.study} is by {charter.coordinator.name}, and {self._coordinator} "
                "asks for it"
            )
        return found

    def greet(self, hello: Hello) -> Welcome:
        """As `Core` says."""
        if not re.fullmatch("[0-9a-f]{64}", hello.challenge):
            raise MessageError("the challenge is not 64 hexadecimal digits")
        with self._site() as site:
            charter, _ = self._own(site.charters.load(hello.charter))
            site.permit(charter)
            decision = site.charters.decision_bytes(charter.digest)
            assert decision is not None
            presence = Presence(charter=charter.digest, site=site.name, challenge=hello.challenge)
            return Welcome(site.name, decision, presence.signed(site.key))

    def offer(self, charter: str, receipt: bytes) -> Offer:
        """As `Core` says."""
        with self._site() as site:
            approved, initial = self._rounds(site.charters.load(charter))
            if receipt:
                _keep_receipt(site, approved, receipt)
            permission = site.permit(approved)
            return Offer(
                site=site.name,
                charter=approved,
                initial=tensors.encode(initial),
                base_model=policy.base_model(approved, site.settings),
                data=permission.dataset.path,
                owner=None if approved.privacy.unit == "record" else permission.dataset.owner,
                left_out=objections.left_out(permission.dataset),
                columns=permission.dataset.columns,
                threads=site.settings.threads,
                cache=site.settings.cache if site.settings.keep_prepared else None,
            )

    def mask(self, asked: MaskRequest) -> MaskAnswer:
        """As `Core` says."""
        with self._site() as site:
            approved, initial = self._rounds(site.charters.load(asked.charter))
            request = _read(approved, asked.request)
            masks = _masks(site, approved, initial, request.round)
            if masks is None:
                raise CharterError(f"charter {approved.study}: it has no secure_aggregation")
            if asked.stage == "keys":
                site.permit(approved)
                _check_not_over(site, approved, request)
                limits.check_now(site.settings, site.ledger, self._clock())
            parcel = masks.answer(request.attempt, asked.stage, asked.parcel)
            return MaskAnswer(site.name, asked.stage, parcel)

    def reserve(
        self, charter: str, request: bytes, adapter: str, sharing: Sharing = UNSHARED
    ) -> Grant | Update:
        """As `Core` says."""
        with self._site() as site:
            approved, initial = self._rounds(site.charters.load(charter))
            asked = _asked(approved, request, adapter)
            permission = site.permit(approved)
            masks = _masks(site, approved, initial, asked.round)
            kept = site.ledger.answer(approved.digest, asked.round, asked.adapter)
            if kept is not None and masks is None:
                site.log("sent again", charter=approved.digest, round=asked.round)
                return Update(site.name, *kept)
            if masks is not None and (again := _masked_again(site, masks, asked, sharing, kept)):
                return again
            _check_not_over(site, approved, asked)
            file = site.admit(approved)
            booking = site.ledger.reserve(
                permission.account,
                permission.study,
                asked.round,
                asked.adapter,
                approved.plan(site.name).event,
                lambda made: site.log(RESERVED, study=approved.study, booking=made.as_json()),
            )
            norms = site.clipping.read(approved)
        log.info("reserved", study=approved.study, round=asked.round, booking=booking)
        return Grant(booking, asked.round, file, norms)

    def clear(
        self, booking: int, update: bytes, norms: str = "", sharing: Sharing = UNSHARED
    ) -> Update:
        """As `Core` says."""
        with self._site() as site:
            booked = site.ledger.unanswered(booking)
            charter, initial = self._rounds(site.charters.load(booked.charter))
            schema = charter.sent(tensors.schema_of(initial), site.name, booked.round)
            bound = charter.aggregation.maximum_update_norm
            noised = not charter.distributed_noise
            cleared = egress.clear(update, schema, bound, site.name, noised)
            site.clipping.keep(charter, norms)
            masks = _masks(site, charter, initial, booked.round)
            if masks is not None:
                rounding = self._randomness(f"{site.name} {booked.round} rounding")
                numbers = tensors.arrays(cleared, "a cleared update")
                masks.keep(booking, booked.request, numbers, rounding)
                return _masked(site, masks, booked, None, sharing)
            site.log(
                "cleared",
                study=charter.study,
                charter=charter.digest,
                round=booked.round,
                booking=booking,
                update=canonical.digest(cleared),
                bytes=len(cleared),
                to=charter.coordinator.name,
            )
            return _let_out(site, booked, cleared)

    def attend(
        self, charter: str, request: bytes, done: bytes = b""
    ) -> AttendedSession | SessionDone:
        """As `Core` says."""
        with self._site() as site:
            approved, _ = self._own(site.charters.load(charter))
            if not isinstance(approved, SessionCharter):
                raise CharterError(f"charter {approved.study}: it has no sessions")
            coordinator = approved.coordinator
            asked = SessionRequest.read(
                request, charter, coordinator.public_key, coordinator.name, "session request"
            )
            if asked.purpose not in approved.PURPOSES:
                raise CharterError(f"charter {approved.study}: no session is to {asked.purpose}")
            gone = parties_done(done, approved, asked.session)
        if self._dial is None:
            raise StateError("this site has no connection to the exchange of a coordinator")
        seat = self._seats[asked.session]
        seat.acquire()
        try:
            found = self._attend(approved, asked, gone)
        except BaseException:
            seat.release()
            raise
        if isinstance(found, SessionDone):
            seat.release()
            return found
        found.connect(self._dial, seat.release)
        return found

    def _attend(
        self, charter: SessionCharter, asked: SessionRequest, gone: frozenset[str]
    ) -> AttendedSession | SessionDone:
        session = asked.session
        with self._site() as site:
            done = Kept(site.settings.state, charter, session).completion
            if done is not None:
                journals.remove(journals.place(site.settings.state / journals.FOLDER, session))
                site.log("sent again", charter=charter.digest, session=session)
                return SessionDone(site.name, done)
            site.permit(charter)
            return take(site, self._site, charter, asked, gone)

    def count(self, charter: str, request: bytes) -> Counting | Counted:
        """As `Core` says."""
        with self._site() as site:
            approved, _ = self._own(site.charters.load(charter))
            return telling.begin(site, telling.checked(approved), request)

    def tell(self, booking: int, found: tuple[Found, ...], counts: bytes) -> Counted:
        """As `Core` says."""
        with self._site() as site:
            booked = site.ledger.unanswered(booking)
            approved, _ = self._own(site.charters.load(booked.charter))
            noise = self._randomness(f"{site.name} {approved.digest} noise")
            return telling.finish(site, telling.checked(approved), booked, found, counts, noise)

    def note(self, note: ReceiptNote) -> Noted:
        """As `Core` says. Raises StateError if the receipt's head is not in this site's log."""
        with self._site() as site:
            charter, _ = self._own(site.charters.read(note.charter))
            _keep_receipt(site, charter, note.receipt)
            return Noted(site.name)

    def refuse(self, charter: str, answers: str, code: RefusalCode) -> Refusal:
        """As `Core` says. The audit log has it too, unless it is the log that cannot be written."""
        settings = self._settings()
        with suppress(FedwardError), self._site() as site:
            site.log("refused", code=code.value)
        try:
            key = keys.load(settings)
            objection = Objection(charter=charter, site=settings.name, answers=answers, code=code)
        except (FedwardError, ValidationError):
            return Refusal(settings.name, code)
        return Refusal(settings.name, code, objection.signed(key))


def _keep_receipt(site: Site, charter: Agreement, data: bytes) -> None:
    """Keeps a receipt. Raises StatementError, or StateError for a head that was never shown."""
    policy.check_revoked(charter, site.settings)
    coordinator = charter.coordinator
    receipt = Receipt.read(
        data, charter.digest, coordinator.public_key, coordinator.name, "receipt"
    ).by(site.name, "receipt")
    site.check_shown(receipt.head)
    site.log(
        "received",
        charter=charter.digest,
        round=receipt.round,
        update=receipt.update,
        receipt=data.decode(),
    )


def _masks(site: Site, charter: Charter, initial: Arrays, number: int) -> Masks | None:
    """Those of a round; None where the charter has none."""
    if charter.secure_aggregation is None:
        return None
    schema = charter.sent(tensors.schema_of(initial), site.name, number)
    return Masks(site, charter, schema, number)


def _masked_again(
    site: Site,
    masks: Masks,
    asked: RoundRequest,
    sharing: Sharing,
    kept: tuple[bytes, bytes] | None,
) -> Update | None:
    """The round's update, if it was made before: the bytes that have left, or under another mask."""
    left = masks.masked(asked.attempt)
    if left is not None and kept is not None and canonical.digest(kept[1]) == left:
        site.log("sent again", charter=asked.charter, round=asked.round)
        return Update(site.name, *kept, masked=True)
    made = masks.made(asked.adapter)
    if made is None:
        return None
    return _masked(site, masks, site.ledger.booking(made), asked.attempt, sharing)


def _masked(
    site: Site, masks: Masks, booked: Booking, attempt: int | None, sharing: Sharing
) -> Update:
    return _let_out(site, booked, masks.mask(attempt, sharing), masked=True)


def _let_out(site: Site, booked: Booking, cleared: bytes, masked: bool = False) -> Update:
    delivery = _delivery(site, booked, cleared)
    site.ledger.complete(booked.number, delivery, cleared)
    return Update(site.name, delivery, cleared, masked)


def _asked(charter: Charter, request: bytes, adapter: str) -> RoundRequest:
    """What the coordinator asks to train. Raises StatementError, CharterError or MessageError."""
    asked = _read(charter, request)
    if asked.adapter != adapter:
        raise MessageError("the adapter is not the one that the round request names")
    return asked


def _read(charter: Charter, request: bytes) -> RoundRequest:
    """What the coordinator has signed. Raises StatementError or CharterError."""
    coordinator = charter.coordinator
    asked = RoundRequest.read(
        request, charter.digest, coordinator.public_key, coordinator.name, "round request"
    )
    if asked.round > charter.training.rounds:
        raise CharterError(
            f"charter {charter.study}: training.rounds is {charter.training.rounds}, the request is "
            f"for round {asked.round}"
        )
    return asked


def _check_not_over(site: Site, charter: Charter, asked: RoundRequest) -> None:
    """Raises StateError for a round before the last: a message that is late must not cost anything.

    Nor must a coordinator go on from an older copy of its study without people deciding to.
    """
    last = site.ledger.last_round(charter.digest)
    if asked.round < last:
        raise StateError(
            f"charter {charter.study}: round {asked.round} is over, round {last} is booked already: "
            "the request is late, or the coordinator has put back an older copy of its study"
        )


def _delivery(site: Site, booked: Booking, cleared: bytes) -> bytes:
    spending = site.ledger.spending(booked.account)
    return Delivery(
        charter=booked.charter,
        site=site.name,
        round=booked.round,
        adapter=booked.request,
        update=canonical.digest(cleared),
        epsilon=epsilon_text(spending.epsilon),
        delta=repr(spending.delta),
        head=site.shown_head,
    ).signed(site.key)
