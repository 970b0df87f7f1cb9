"""Runs of keys against a dictionary."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.text.runs import Runs

BANDS = 2
KEYS = st.lists(st.lists(st.integers(0, 5), min_size=BANDS, max_size=BANDS), max_size=6)


@given(st.lists(KEYS, max_size=8), KEYS)
def test_runs_find_what_a_dictionary_finds(
    batches: list[list[list[int]]], asked: list[list[int]]
) -> None:
    held: list[list[int]] = []
    asked_DB = np.array(asked, np.uint32).reshape(-1, BANDS)
    with TemporaryDirectory() as folder:
        names: list[str] = []
        for batch in batches:
            numbers_D = np.arange(len(held), len(held) + len(batch))
            Runs(Path(folder), "some", BANDS, names).append(
                np.array(batch, np.uint32).reshape(-1, BANDS), numbers_D
            )
            held += batch
        runs = Runs(Path(folder), "some", BANDS, names)
        latest_DB = runs.latest(asked_DB)
        rows, documents = runs.sharing(asked_DB)
    assert len(names) <= 1 + np.log2(1 + len(held))
    having = [
        [[n for n, keys in enumerate(held) if keys[band] == row[band]] for band in range(BANDS)]
        for row in asked
    ]
    assert latest_DB.tolist() == [[max(found, default=-1) for found in row] for row in having]
    pairs = [(n, d) for n, row in enumerate(having) for d in sorted({*row[0], *row[1]})]
    assert list(zip(rows.tolist(), documents.tolist(), strict=True)) == pairs
