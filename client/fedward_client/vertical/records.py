"""A party's file of records: identifiers, columns and, at the active party, labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fedward_shared import canonical, records
from fedward_shared.errors import DataError
from fedward_shared.psi.identifiers import normalised
from fedward_shared.records import LeftOut
from fedward_shared.vertical.encoding import ROWS_SHOWN, Encoded, encode
from fedward_shared.vertical.terms import VerticalTerms


@dataclass(frozen=True)
class PartyRecords:
    """The records of one party, in the order of its file. `label_N`: numbers of classes, int64; None at
    a passive party, and of records that are asked about. `folders`: of the base models that read its
    texts."""

    identifiers: list[bytes]
    encoded: Encoded
    label_N: torch.Tensor | None
    folders: tuple[Path, ...] = ()

    @classmethod
    def read(
        cls,
        path: Path,
        terms: VerticalTerms,
        party: str,
        identifier: Sequence[str],
        file: str | None = None,
        left_out: LeftOut | None = None,
        folders: Sequence[Path] = (),
    ) -> "PartyRecords":
        """Of the file `path`, in which the columns `identifier` say who a record is of. `file` is the
        digest that it has to have; the records of those in `left_out` do not take part. Base models for
        its texts are in `folders`.

        Raises DataError or AlignmentError that name the column, and rows but not what is in them;
        ModelError if an encoder is not there.
        """
        data = records.read_bytes(path)
        if file not in (None, canonical.digest(data)):
            raise DataError(f"{path}: the file is another than the one that was registered")
        labelled = terms.active == party
        return cls.parse(path, data, terms, party, identifier, left_out, folders, labelled)

    @classmethod
    def parse(
        cls,
        path: Path,
        data: bytes,
        terms: VerticalTerms,
        party: str,
        identifier: Sequence[str],
        left_out: LeftOut | None = None,
        folders: Sequence[Path] = (),
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
            labels = _labels(path, records.texts(path, content, terms.label, "label"), terms)
        identifiers = normalised(parts, terms.alignment.rules)
        return cls(identifiers, encode(table, columns, folders), labels, tuple(folders))


def _labels(path: Path, texts: Sequence[str], terms: VerticalTerms) -> torch.Tensor:
    number = {name: place for place, name in enumerate(terms.classes)}
    wrong = [str(row) for row, text in enumerate(texts, start=1) if text not in number]
    if wrong:
        rows = ", ".join(wrong[:ROWS_SHOWN]) + (" …" if len(wrong) > ROWS_SHOWN else "")
        raise DataError(
            f"{path}: column {terms.label!r}: {len(wrong)} labels are none of the classes "
            f"{', '.join(terms.classes)} (rows {rows})"
        )
    if len(set(texts)) < 2:
        raise DataError(f"{path}: column {terms.label!r}: all labels are the same")
    return torch.tensor([number[text] for text in texts])
