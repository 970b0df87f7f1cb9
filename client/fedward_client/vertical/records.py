"""A party's file of records: identifiers, columns and, at the active party, labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fedward_shared import canonical, records
from fedward_shared.errors import DataError
from fedward_shared.psi.identifiers import normalised
from fedward_shared.records import LeftOut
from fedward_shared.vertical.columns import Encoded, encode
from fedward_shared.vertical.terms import VerticalTerms

LABELS = {"0": 0.0, "1": 1.0}


@dataclass(frozen=True)
class PartyRecords:
    """The records of one party, in the order of its file. `label_N` is None at a passive one, and of
    records that are asked about."""

    identifiers: list[bytes]
    encoded: Encoded
    label_N: torch.Tensor | None

    @classmethod
    def read(
        cls,
        path: Path,
        terms: VerticalTerms,
        party: str,
        identifier: Sequence[str],
        file: str | None = None,
        left_out: LeftOut | None = None,
    ) -> "PartyRecords":
        """Of the file `path`, in which the columns `identifier` say who a record is of. `file` is the
        digest that it has to have; the records of those in `left_out` do not take part.

        Raises DataError or AlignmentError that name the column, and rows but not what is in them.
        """
        data = records.read_bytes(path)
        if file not in (None, canonical.digest(data)):
            raise DataError(f"{path}: the file is another than the one that was registered")
        return cls.parse(path, data, terms, party, identifier, left_out, terms.active == party)

    @classmethod
    def parse(
        cls,
        path: Path,
        data: bytes,
        terms: VerticalTerms,
        party: str,
        identifier: Sequence[str],
        left_out: LeftOut | None = None,
        labelled: bool = False,
    ) -> "PartyRecords":
        """Of `data`, the bytes of `path`, as `read` does; without labels unless they are `labelled`."""
        content = records.table(path, data)
        if left_out is not None:
            content = left_out.without(path, content)
        table = terms.table_of(party)
        parts = [records.texts(path, content, name, "identifier") for name in identifier]
        columns = [records.given(path, content, name) for name in table.names]
        labels = None
        if labelled:
            labels = _labels(path, records.texts(path, content, terms.label, "label"))
        return cls(normalised(parts, terms.alignment.rules), encode(table, columns), labels)


def _labels(path: Path, texts: Sequence[str]) -> torch.Tensor:
    wrong = [row for row, text in enumerate(texts, start=1) if text not in LABELS]
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} labels are neither 0 nor 1 (the first in row {wrong[0]})"
        )
    if len(set(texts)) < 2:
        raise DataError(f"{path}: all labels are {texts[0]}")
    return torch.tensor([LABELS[text] for text in texts])
