"""How the columns of a party become tensors, by what the charter says of them and by nothing else.

The numbers of a record are a function of that record alone, which is what a bound on what one record
moves rests on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from fedward_shared import base_models
from fedward_shared.errors import DataError
from fedward_shared.records import NOTHING
from fedward_shared.vertical import images
from fedward_shared.vertical.columns import (
    RESERVED_CODES,
    CategoryColumn,
    Column,
    DateColumn,
    ImageColumn,
    NumberColumn,
    TableTerms,
    TextColumn,
)

MISSING, UNSEEN = range(RESERVED_CODES)
"""The codes before those of a category's values."""
NO_TOKEN = -1
ROWS_SHOWN = 5

Given = Sequence[str | None]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Encoded:
    """Records as a bottom model takes them: numbers_NF float32, codes_NC int64 and, of each image and
    text column in order, what its reader reads: pixels_NKHW uint8 or tokens_NT int32."""

    numbers_NF: torch.Tensor
    codes_NC: torch.Tensor
    contents: tuple[torch.Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers_NF)

    @property
    def inputs(self) -> tuple[torch.Tensor, ...]:
        """All tensors, in the order in which a bottom takes them."""
        return self.numbers_NF, self.codes_NC, *self.contents

    def rows(self, rows: torch.Tensor) -> "Encoded":
        """Those of them."""
        contents = tuple(content[rows] for content in self.contents)
        return Encoded(self.numbers_NF[rows], self.codes_NC[rows], contents)


def encode(table: TableTerms, values: Sequence[Given], folders: Sequence[Path] = ()) -> Encoded:
    """The records of which `values` are the columns, in the order of the terms; the encoders of texts
    are among the `folders` of base models.

    Numbers are encoded piece by piece (Gorishniy et al. 2022, "On Embeddings for Numerical Features in
    Tabular Deep Learning", with pieces of equal width). Raises DataError that names the column, and rows
    but not what is in them, for what is no number, date or image; ModelError if an encoder is not there.
    """
    numbers: list[np.ndarray] = []
    codes: list[np.ndarray] = []
    contents: list[torch.Tensor] = []
    for column, texts in zip(table.columns, values, strict=True):
        given = [None if text is None or _nothing(text) else text.strip() for text in texts]
        if isinstance(column, CategoryColumn):
            codes.append(_codes(column, given))
        elif isinstance(column, ImageColumn | TextColumn):
            numbers.append(np.array([[value is None] for value in given]))
            contents.append(_content(column, given, folders))
        else:
            numbers.append(_pieces(_places(column, given), table.pieces))
        if isinstance(column, DateColumn):
            numbers.append(_turns(column, given))
    count = len(values[0]) if values else 0
    empty = np.zeros((count, 0))
    return Encoded(
        torch.from_numpy(np.concatenate([empty, *numbers], axis=1).astype(np.float32)),
        torch.from_numpy(np.stack(codes, axis=1) if codes else empty.astype(np.int64)),
        tuple(contents),
    )


def _nothing(text: str) -> bool:
    return text.strip().casefold() in NOTHING


def _codes(column: CategoryColumn, given: Given) -> np.ndarray:
    known = {value: code for code, value in enumerate(column.values, start=UNSEEN + 1)}
    return np.array([MISSING if v is None else known.get(v, UNSEEN) for v in given], np.int64)


def _each(column: Column, given: Given, make: Callable[[str], Made], nothing: Made) -> list[Made]:
    """What `make` makes of each value. Raises DataError if it cannot (ValueError)."""
    made, wrong = [], []
    for row, value in enumerate(given, start=1):
        try:
            made.append(nothing if value is None else make(value))
        except ValueError:
            wrong.append(row)
    if wrong:
        shown = ", ".join(str(row) for row in wrong[:ROWS_SHOWN])
        raise DataError(
            f"column {column.name}: {len(wrong)} of its values are no {column.kind} (rows {shown}"
            f"{' …' if len(wrong) > ROWS_SHOWN else ''})"
        )
    return made


def _places(column: NumberColumn | DateColumn, given: Given) -> np.ndarray:
    """From 0 to 1, NaN where nothing is, [N]."""
    return np.array(_each(column, given, column.place, math.nan), np.float64)


def _content(
    column: ImageColumn | TextColumn, given: Given, folders: Sequence[Path]
) -> torch.Tensor:
    """What the column's reader reads of each record, [N, ...]."""
    if isinstance(column, TextColumn):
        return _tokens(column, given, base_models.find(folders, column.base_model.digest))
    pixels = _each(column, given, lambda text: images.pixels(column, text), images.grey(column))
    return torch.from_numpy(np.stack(pixels))


def _tokens(column: TextColumn, given: Given, folder: Path) -> torch.Tensor:
    """Ids of the tokens, and no token after the last, int32, [N, T]."""
    from fedward_shared.pretrained import load_tokenizer  # with transformers, where there are texts

    token_NT = np.full((len(given), column.max_tokens), NO_TOKEN, np.int32)
    rows = [row for row, text in enumerate(given) if text is not None]
    if rows:
        found = load_tokenizer(folder)(
            [given[row] for row in rows], truncation=True, max_length=column.max_tokens
        )
        for row, ids in zip(rows, found["input_ids"], strict=True):
            token_NT[row, : len(ids)] = ids
    return torch.from_numpy(token_NT)


def _pieces(place_N: np.ndarray, pieces: int) -> np.ndarray:
    """How much of each piece lies below, from -½ to ½, and whether there is nothing, [N, pieces + 1].

    About zero, records are shorter, and a bound on the length of their gradients leaves more of them.
    """
    missing_N1 = np.isnan(place_N)[:, None]
    below_NP = np.clip(np.nan_to_num(place_N)[:, None] * pieces - np.arange(pieces), 0.0, 1.0)
    return np.concatenate([np.where(missing_N1, 0.0, below_NP - 0.5), missing_N1], axis=1)


def _turns(column: DateColumn, given: Given) -> np.ndarray:
    """Cosine and sine of the time of the year, 0 where there is nothing, [N, 2]."""
    turns = (None if value is None else column.turn(value) for value in given)
    pairs = [(0.0, 0.0) if t is None else (math.cos(t), math.sin(t)) for t in turns]
    return np.array(pairs, np.float64).reshape(-1, 2)
