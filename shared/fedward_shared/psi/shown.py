"""How many records a party shows to another: an upper bound, and a padded number."""

from typing import Annotated

from pydantic import Field

from fedward_shared.terms import Terms


class Shown(Terms):
    """A party shows the number of its records as the next multiple of `step`, and may show `most`."""

    most: Annotated[int, Field(ge=1, le=10**8)]
    step: Annotated[int, Field(ge=1, le=10**6)] = 1

    def shown(self, count: int) -> int:
        """The size that is shown instead of `count`: the next multiple of `step`."""
        return -(-count // self.step) * self.step
