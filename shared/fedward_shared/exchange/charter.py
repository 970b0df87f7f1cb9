"""What a charter has whose parties talk to each other in sessions, over the exchange."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from fedward_shared.agreement import Agreement
from fedward_shared.assurances import Purpose
from fedward_shared.charter_terms import Positive
from fedward_shared.privacy.plan import Event
from fedward_shared.terms import Terms


class ExchangeTerms(Terms):
    """`patience_seconds`: how long the others wait for a party that is away; `deadline_seconds`: how
    long a session may take."""

    patience_seconds: Annotated[Positive, Field(le=86_400)] = 600.0
    deadline_seconds: Annotated[Positive, Field(le=30 * 86_400)] = 86_400.0


@dataclass(frozen=True)
class Series:
    """Sessions of one purpose, of which the charter allows `most`, in its `term`. A site books `each` in
    one of them, after `before` bookings of other kinds."""

    before: int
    each: int
    most: int
    term: str


class SessionCharter(Agreement):
    """All terms of a study that has sessions in the place of rounds.

    `PURPOSES` are what its sessions are for, the first one first; what a site keeps of them is in
    `FOLDER` of its state.
    """

    PURPOSES: ClassVar[tuple[Purpose, ...]]
    FOLDER: ClassVar[str]

    exchange: ExchangeTerms = ExchangeTerms()

    @abstractmethod
    def peers(self, site: str) -> list[str]:
        """With whom `site` exchanges messages. Raises CharterError for one that does not take part."""

    @abstractmethod
    def due(self, site: str, purpose: Purpose) -> list[Event]:
        """What `site` books in one session, in order."""

    @abstractmethod
    def series(self, site: str, purpose: Purpose) -> Series | None:
        """How many sessions for `purpose` there may be; None where ε alone bounds them."""

    @abstractmethod
    def noted(self, site: str) -> dict[str, object]:
        """What the audit log of `site` says of a session that begins: what of it no ε covers, too."""
