"""The charter of a study that asks each site for noised statistics of its records, once.

`charter.toml` is its draft, `charter.json` the statement that the coordinator has signed, as in any
other study. It hands out no tensors.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from fedward_shared import agreement
from fedward_shared.agreement import CHARTER_FILE, Agreement
from fedward_shared.charter_terms import Positive
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.unit import Unit
from fedward_shared.statistics.terms import StatisticsTerms


class StatisticsCharter(Agreement):
    """All terms. `deadline_seconds`: how long the coordinator waits for the answers."""

    KIND = "fedward/statistics-charter/1"

    statistics: StatisticsTerms
    deadline_seconds: Annotated[Positive, Field(le=30 * 86_400)] = 3600.0

    @model_validator(mode="after")
    def _somebody_is_asked(self) -> "StatisticsCharter":
        if not self.participants:
            raise ValueError("participants: there are none")
        if any(participant.rank is not None for participant in self.participants):
            raise ValueError("participants.rank: statistics have no adapters")
        return self

    @property
    def epsilon(self) -> float:
        """What each site spends at most. There are no statistics without DP."""
        return self.statistics.epsilon

    @property
    def delta(self) -> float:
        """At which δ."""
        return self.statistics.delta

    @property
    def unit(self) -> Unit:
        """Of whom one at a time is protected."""
        return self.statistics.unit

    def events(self, site: str) -> list[Event]:
        """What `site` books: one answer."""
        self.participant(site)
        return [self.statistics.event]


def load(folder: Path) -> StatisticsCharter:
    """The signed charter in `folder`. Raises CharterError or StatementError as `agreement.read` does."""
    return agreement.read(folder / CHARTER_FILE, StatisticsCharter)


def save(folder: Path, charter: StatisticsCharter, key: SigningKey) -> None:
    """Signs and writes the charter. Raises CharterError for another key than the coordinator's."""
    write_atomically(folder / CHARTER_FILE, charter.signed(key))
