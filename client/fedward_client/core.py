"""What the worker asks of the site's trusted side, and all that it is told.

The worker is an unprivileged process that a Flower message starts: it holds no key and opens no ledger.
`trusted.Trusted` answers it. In a simulation it does so directly, in deployment over a Unix socket
(`boundary`), and neither side can tell which.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedward_shared.assurances import Purpose
from fedward_shared.charter import Charter
from fedward_shared.errors import RefusalCode
from fedward_shared.exchange.charter import SessionCharter
from fedward_shared.messages import (
    UNSHARED,
    Counted,
    Hello,
    MaskAnswer,
    MaskRequest,
    Noted,
    ReceiptNote,
    Refusal,
    SessionDone,
    Sharing,
    Update,
    Welcome,
)
from fedward_shared.privacy.plan import Event
from fedward_shared.records import LeftOut
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.tally import Found


@dataclass(frozen=True)
class Outcome:
    """What came of a session at this site. `model`: safetensors, and nothing unless one was fitted;
    `result`: canonical JSON."""

    model: bytes
    result: bytes


@dataclass(frozen=True)
class Offer:
    """What the worker needs for a round of a charter that is approved and permitted here.

    `initial`: safetensors of all the study's tensors. `data` is the file of records, and `columns` its
    column for each role that has not the role's own name. `owner` is the column of whom the charter
    protects, None where that is a record. Records of the people in `left_out` are not trained on.
    `cache` is where prepared records are kept, None for nowhere.
    """

    site: str
    charter: Charter
    initial: bytes
    base_model: Path
    data: Path
    owner: str | None
    left_out: LeftOut | None
    columns: Mapping[str, str]
    threads: int
    cache: Path | None


@dataclass(frozen=True)
class Grant:
    """A round is booked: the booking's number, which round it is, and the digest of the file of records
    that it was booked for. `norms`: where adaptive clipping goes on (`privacy.clipping.norms_text`).
    """

    booking: int
    round: int
    file: str
    norms: str = ""


@dataclass(frozen=True)
class SessionOffer:
    """What the worker needs to take part in a session.

    `data` is the file of records, `file` the digest it has, and `compared` its columns by which records
    are compared with those of others: who they are of or, in a study of duplicates, their text. Records
    of the people in `left_out` do not take part. The encoders of its texts are in `base_models`. All
    that the program draws follows from `secret`, so that one that runs again says the same.

    In a prediction `model` is what this site has kept of the model (safetensors), and at the active
    party `query` the bytes of the file that is asked about, which `data` names then. Both are empty in
    training.
    """

    site: str
    charter: SessionCharter
    session: str
    secret: bytes
    data: Path
    file: str
    compared: tuple[str, ...]
    left_out: LeftOut | None
    base_models: tuple[Path, ...]
    threads: int
    purpose: Purpose = "fit"
    model: bytes = b""
    query: bytes = b""


@dataclass(frozen=True)
class Counting:
    """Statistics are booked: what the worker needs to count what the charter asks for.

    `data`, `owner`, `left_out` and `columns` are as in an `Offer`; `file` is the digest of the file.
    """

    booking: int
    site: str
    charter: StatisticsCharter
    data: Path
    file: str
    owner: str | None
    left_out: LeftOut | None
    columns: Mapping[str, str]


class Attending(Protocol):
    """A site's seat in a session, which is free again when it is closed: a `Line` to its peers, and what
    the site books and keeps for it. Each call raises FedwardError where the site will not.
    """

    @property
    def offer(self) -> SessionOffer:
        """What the session is about."""

    def send(self, peer: str, message: bytes) -> bytes:
        """As `Line` says."""

    def receive(self, peer: str, timeout: float) -> bytes:
        """As `Line` says."""

    def checkpoint(self, state: bytes) -> None:
        """As `Line` says."""

    def restored(self) -> bytes:
        """As `Line` says."""

    def book(self, number: int, event: Event) -> None:
        """Books what is going to be done; the same again, if the session was interrupted, at no cost."""

    def finish(self, outcome: Outcome) -> SessionDone:
        """Keeps the outcome at the site, and signs for the coordinator that it is done."""

    def close(self) -> None:
        """Leaves the session. One that is not done is gone on with when it is attended again."""


class Core(Protocol):
    """Each call raises FedwardError where the site will not; `refusal` of it is what may be said."""

    def greet(self, hello: Hello) -> Welcome:
        """The site's decision and its presence, if it has approved the charter and still permits it."""

    def offer(self, charter: str, receipt: bytes) -> Offer:
        """What a round of the charter takes. Books nothing; keeps the receipt, if there is one."""

    def mask(self, asked: MaskRequest) -> MaskAnswer:
        """What the site says in a stage of a masked round; the same as often as it is asked the same."""

    def reserve(
        self, charter: str, request: bytes, adapter: str, sharing: Sharing = UNSHARED
    ) -> Grant | Update:
        """Books the round that the coordinator's signed `request` asks for.

        `adapter` is the digest of the adapter that came with it, `sharing` what came of the others'
        secrets. Where an update was made for the same request before, it is that one, at no cost.
        """

    def clear(
        self, booking: int, update: bytes, norms: str = "", sharing: Sharing = UNSHARED
    ) -> Update:
        """Checks the tensors that were trained for a booking, masks them where the charter has masks,
        and signs for what leaves, once.

        `norms` is where adaptive clipping has come to; the site keeps it for the study's next round.
        """

    def attend(self, charter: str, request: bytes, done: bytes = b"") -> Attending | SessionDone:
        """A seat in the session that the coordinator's signed `request` calls to.

        Those whose completions are in `done`, a line each, are not waited for. Where this site was done
        before, what it said then. Waits while the session is attended already.
        """

    def count(self, charter: str, request: bytes) -> Counting | Counted:
        """Books the statistics that the coordinator's signed `request` asks for; the same answer as
        before, at no cost, where there is one."""

    def tell(self, booking: int, found: tuple[Found, ...], counts: bytes) -> Counted:
        """Checks the `counts` (int64, little-endian) that were made for a booking, adds the noise and
        signs for what leaves, once. `found`: what the file declares of each column."""

    def note(self, note: ReceiptNote) -> Noted:
        """Keeps the coordinator's receipt for what this site has sent."""

    def refuse(self, charter: str, answers: str, code: RefusalCode) -> Refusal:
        """A refusal, signed where it is known what is refused; empty texts where it is not."""
