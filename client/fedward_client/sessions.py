"""A session at a deployed site: its program over a seat that the trusted side has given it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Protocol

from fedward_client.core import Attending, Outcome, SessionOffer
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import CharterError
from fedward_shared.exchange.program import Program, over
from fedward_shared.messages import SessionDone
from fedward_shared.psi.alignment import Work
from fedward_shared.vertical.charter import VerticalCharter


class Part(Protocol):
    """What a site does in a session of one kind of study, with records that it has read."""

    def program(self, work: Work, state: bytes) -> Program:
        """From the checkpoint of which `state` is; points are computed by `work`."""

    def outcome(self, found: Any) -> Outcome:
        """What is kept of what the program came to."""


def attend(session: Attending) -> SessionDone:
    """Does this site's part, from reading its records to the end.

    Raises FedwardError; a session that is attended again then goes on from its last checkpoint.
    """
    with closing(session):
        offer = session.offer
        part = _part(offer)
        with ThreadPoolExecutor(offer.threads) as pool:
            patience = offer.charter.exchange.patience_seconds
            program = part.program(pool.map, session.restored())
            found = over(program, session, session.book, patience)
        return session.finish(part.outcome(found))


def _part(offer: SessionOffer) -> Part:
    """Only what the session needs is loaded: a study of columns takes torch, one of duplicates none."""
    match offer.charter:
        case VerticalCharter():
            from fedward_client.vertical.session import VerticalPart

            return VerticalPart(offer)
        case DuplicatesCharter():
            from fedward_client.duplicates.session import DuplicatesPart

            return DuplicatesPart(offer)
        case charter:
            raise CharterError(f"charter {charter.study}: of a kind that has no sessions here")
