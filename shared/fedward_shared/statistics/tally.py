"""What coordinator and site sign about statistics.

    coordinator → site    StatisticsRequest   the answer to the charter is wanted now
    site → coordinator    Tally               that answer, and what its ledger says

The coordinator's `Receipt` for it is that of a first round.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import Field

from fedward_shared import canonical
from fedward_shared.assurances import Accounted, Assurance
from fedward_shared.errors import StatementError
from fedward_shared.statistics.answer import LARGEST, Layout
from fedward_shared.statistics.charter import StatisticsCharter

Found = Literal["number", "text", "other", "absent", "undeclared"]
"""What a file says of a column before any record of it: how a Parquet file or, by having it, a CSV's
first line declares it, or that it has none of that name. Files of JSON lines declare nothing."""
FOUND: tuple[Found, ...] = get_args(Found)

ONCE = 1
"""The round as which ledger, log and receipt know the one answer."""

Number = Annotated[int, Field(strict=True, gt=-LARGEST, lt=LARGEST)]


class StatisticsRequest(Assurance):
    """The coordinator asks for the answer to its charter: there is one."""

    KIND = "fedward/statistics-request/1"


class Tally(Accounted):
    """A site's answer. `found`: of each column; `numbers`: the noised ones (`answer.Layout`)."""

    KIND = "fedward/tally/1"

    found: tuple[Found, ...]
    numbers: tuple[Number, ...]

    @property
    def update(self) -> str:
        """The digest by which log and receipt name what was told."""
        return told(self.numbers)


def told(numbers: Sequence[int]) -> str:
    """The digest of these noised numbers."""
    return canonical.digest(canonical.encode(list(numbers)))


def read(data: bytes, charter: StatisticsCharter, site: str, origin: str) -> Tally:
    """What `site` has answered. Raises StatementError or CharterError for what is no answer to this
    charter, by that site, of just the size that the charter asks for."""
    tally = Tally.read_of(data, charter, site, origin)
    terms, size = charter.statistics, Layout(charter.statistics).size
    if (len(tally.found), len(tally.numbers)) != (len(terms.columns), size):
        raise StatementError(
            f"{origin}: {len(tally.numbers)} numbers about {len(tally.found)} columns, and the charter "
            f"asks for {size} about {len(terms.columns)}"
        )
    _ = tally.spent
    return tally
