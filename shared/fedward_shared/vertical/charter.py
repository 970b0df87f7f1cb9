"""The charter of a study whose sites hold different columns of the same people (vertical partitioning).

`charter.toml` is its draft, `charter.json` the statement that the coordinator has signed, as in any
other study. It hands out no tensors: all parties can tell where their models begin.
"""

from typing import Literal

from pydantic import model_validator

from fedward_shared.assurances import Purpose
from fedward_shared.charter_terms import WITHOUT_DP
from fedward_shared.exchange.charter import Series, SessionCharter
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.unit import Unit
from fedward_shared.vertical.terms import VerticalTerms

BOOKED = "what is said of columns and labels is booked before"


class VerticalCharter(SessionCharter):
    """All terms of one study. Its participants are the parties that `vertical` names."""

    KIND = "fedward/vertical-charter/1"
    PURPOSES = ("fit", "predict")
    FOLDER = "vertical"

    partitioning: Literal["vertical"] = "vertical"
    vertical: VerticalTerms
    without_dp: str = ""

    @model_validator(mode="after")
    def _same_parties(self) -> "VerticalCharter":
        called = {participant.name for participant in self.participants}
        named = {self.vertical.active, *self.vertical.peers}
        if called != named:
            raise ValueError(
                f"participants are {', '.join(sorted(called))}, and vertical names "
                f"{', '.join(sorted(named))}"
            )
        if any(participant.rank is not None for participant in self.participants):
            raise ValueError("participants.rank: a vertical study has no adapters")
        return self

    @model_validator(mode="after")
    def _private_or_said_so(self) -> "VerticalCharter":
        if self.vertical.privacy is None and self.without_dp != WITHOUT_DP:
            raise ValueError(f'without_dp: without vertical.privacy it has to be "{WITHOUT_DP}"')
        if self.vertical.privacy is not None and self.without_dp:
            raise ValueError("without_dp: the study has vertical.privacy")
        return self

    @property
    def epsilon(self) -> float | None:
        """What each party spends at most; None without DP."""
        return self.vertical.privacy.epsilon if self.vertical.privacy else None

    @property
    def delta(self) -> float:
        """At which δ; 0 without DP."""
        return self.vertical.privacy.delta if self.vertical.privacy else 0.0

    @property
    def unit(self) -> Unit:
        """Of whom one at a time is protected."""
        return self.vertical.privacy.unit if self.vertical.privacy else "record"

    def events(self, site: str) -> list[Event]:
        """What `site` books in the training and all predictions, in order."""
        terms = self.vertical
        return [*terms.fitted(site), *terms.predictions * terms.predicted(site)]

    def due(self, site: str, purpose: Purpose) -> list[Event]:
        """What `site` books in one session, in order."""
        return self.vertical.fitted(site) if purpose == "fit" else self.vertical.predicted(site)

    def series(self, site: str, purpose: Purpose) -> Series | None:
        """As `SessionCharter` says: predictions are counted, and trainings bounded by their ε."""
        if purpose == "fit":
            return None
        terms = self.vertical
        before, each = len(terms.fitted(site)), len(terms.predicted(site))
        return Series(before, each, terms.predictions, "vertical.predictions")

    def peers(self, site: str) -> list[str]:
        """With whom `site` exchanges messages: the active party with all others, these with it."""
        self.participant(site)
        active = self.vertical.active
        return self.vertical.peers if site == active else [active]

    def noted(self, site: str) -> dict[str, object]:
        """As `SessionCharter` says."""
        alignment = self.vertical.alignment
        return {
            "privacy": f"NOT PRIVATE: {WITHOUT_DP}" if self.epsilon is None else BOOKED,
            "peers": self.peers(site),
            "alignment": "which records are common, and how many are here, is not covered by epsilon",
            "most": alignment.most,
            "step": alignment.step,
        }
