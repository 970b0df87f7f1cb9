"""What sites agree on that look for each other's near-duplicates, and what each may learn by it."""

from typing import Annotated

from pydantic import Field

from fedward_shared.psi.shown import Shown
from fedward_shared.terms import Name
from fedward_shared.text import BANDS


class DuplicatesTerms(Shown):
    """Documents are the texts of `columns` (roles, which each site has in columns of its own), in that
    order, a line each. `most` and `step` count documents, each of which has `BANDS` keys.

    `seed` draws the permutations, and is no secret. A document is told to its site where `least` of its
    bands or more are those of the other's. One of fewer than `shortest` shingles takes no part: whoever
    guesses documents guesses short ones. There may be so many `sessions`.
    """

    columns: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)] = ("text",)
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    least: Annotated[int, Field(ge=1, le=BANDS)] = 2
    shortest: Annotated[int, Field(ge=1, le=10_000)] = 10
    sessions: Annotated[int, Field(ge=1, le=1000)] = 1

    @property
    def most_keys(self) -> int:
        """How many keys a party may show."""
        return BANDS * self.shown(self.most)
