"""A session of a study of duplicates: from the site's file of records to what is kept of it."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl

from fedward_client.core import Outcome, SessionOffer
from fedward_shared import canonical, records
from fedward_shared.duplicates.bands import Bands
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.duplicates.comparing import comparing
from fedward_shared.errors import DataError
from fedward_shared.exchange.program import Program
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.psi.alignment import Work

ROW = "fedward row"
"""The column of a record's number, from 1 on, while some of them are left out."""


class DuplicatesPart:
    """Raises DataError for a file that is another than was registered, or has not the columns."""

    def __init__(self, offer: SessionOffer) -> None:
        assert isinstance(offer.charter, DuplicatesCharter)
        self._offer, self._charter = offer, offer.charter
        terms = self._charter.duplicates
        self._numbers_N, texts = _documents(offer)
        self._bands = Bands.of(texts, terms.seed, terms.shortest)

    def program(self, work: Work, _: bytes) -> Program:
        """It has no checkpoint: a session that was interrupted begins again, and says the same."""
        offer, charter = self._offer, self._charter
        return comparing(
            offer.site,
            charter.peers(offer.site),
            self._bands,
            charter.duplicates,
            offer.session,
            charter.due(offer.site, offer.purpose),
            partial(Randomness.derived, offer.secret, "duplicates"),
            work,
        )

    def outcome(self, found: dict[str, np.ndarray]) -> Outcome:
        """For each peer the numbers of the records that it nearly has, and in how many bands."""
        numbers_D = self._numbers_N[self._bands.numbers_D]
        least = self._charter.duplicates.least
        alike = {
            peer: np.stack([numbers_D, counts_D], axis=1)[counts_D >= least].tolist()
            for peer, counts_D in found.items()
        }
        result = {
            "study": self._charter.study,
            "records": len(self._bands),
            "file": self._offer.file,
            "alike": alike,
        }
        return Outcome(b"", canonical.encode(result))


def _documents(offer: SessionOffer) -> tuple[np.ndarray, Sequence[str]]:
    """Numbers of the records that take part, from 1 on, and their texts, a line for each column."""
    path = offer.data
    data = records.read_bytes(path)
    if canonical.digest(data) != offer.file:
        raise DataError(f"{path}: the file is another than the one that was registered")
    content = records.table(path, data).with_row_index(ROW, offset=1)
    if offer.left_out is not None:
        content = offer.left_out.without(path, content)
    columns = [records.texts(path, content, name, "duplicates") for name in offer.compared]
    texts = ["\n".join(parts) for parts in zip(*columns, strict=True)]
    return content[ROW].cast(pl.Int64).to_numpy(), texts
