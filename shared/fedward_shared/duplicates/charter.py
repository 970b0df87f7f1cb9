"""The charter of a study in which each site learns which of its documents are nearly another site's.

Nothing is trained, and nothing comes to the coordinator but that all are done. No ε covers what the
sites learn, and so none is spent: a session is booked to be counted.
"""

from typing import Literal

from pydantic import model_validator

from fedward_shared.assurances import Purpose
from fedward_shared.duplicates.terms import DuplicatesTerms
from fedward_shared.exchange.charter import Series, SessionCharter
from fedward_shared.privacy.plan import INTERSECTION, Event
from fedward_shared.privacy.unit import Unit

NOT_COVERED = "which documents are alike, and how many are here, is not covered by epsilon"


class DuplicatesCharter(SessionCharter):
    """All terms of one study. Every participant is compared with every other."""

    KIND = "fedward/duplicates-charter/1"
    PURPOSES = ("compare",)
    FOLDER = "duplicates"

    partitioning: Literal["horizontal"] = "horizontal"
    duplicates: DuplicatesTerms

    @model_validator(mode="after")
    def _some_to_compare(self) -> "DuplicatesCharter":
        if len(self.participants) < 2:
            raise ValueError("participants: there are none to be compared with")
        if any(participant.rank is not None for participant in self.participants):
            raise ValueError("participants.rank: a study of duplicates has no adapters")
        return self

    @property
    def epsilon(self) -> float:
        """0: nothing is let out that an ε covers."""
        return 0.0

    @property
    def delta(self) -> float:
        """0."""
        return 0.0

    @property
    def unit(self) -> Unit:
        """A document is a record."""
        return "record"

    def events(self, site: str) -> list[Event]:
        """What `site` books in all sessions, in order."""
        return self.duplicates.sessions * self.due(site, "compare")

    def due(self, site: str, purpose: Purpose) -> list[Event]:
        """As `SessionCharter` says."""
        del site, purpose  # alike at all, and there is one
        return [INTERSECTION]

    def series(self, site: str, purpose: Purpose) -> Series:
        """As `SessionCharter` says."""
        del site, purpose
        return Series(0, 1, self.duplicates.sessions, "duplicates.sessions")

    def peers(self, site: str) -> list[str]:
        """All others, in the order of their names."""
        self.participant(site)
        return sorted(party.name for party in self.participants if party.name != site)

    def noted(self, site: str) -> dict[str, object]:
        """As `SessionCharter` says."""
        terms = self.duplicates
        return {
            "privacy": NOT_COVERED,
            "peers": self.peers(site),
            "most": terms.most,
            "step": terms.step,
            "sessions": terms.sessions,
        }
