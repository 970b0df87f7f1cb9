"""Near-duplicates of a dataset of Ray Data: sketched on all machines, compared on one.

Sketching is most of the time, and is of each document alone. What it makes, a few hundred bytes a
document, comes in the order of the dataset to the one process that has the index: the result is that of
`Index.add`, byte for byte.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fedward_shared.errors import MissingExtra
from fedward_shared.text.duplicates import Index
from fedward_shared.text.signatures import BANDS, PIECE, Sketches, sketch

if TYPE_CHECKING:
    from ray.data import Dataset


def add(index: Index, dataset: "Dataset", text: str, unit: str) -> None:
    """Adds the rows of `dataset` to `index`: the columns `text` and `unit`, both of strings.

    The dataset is executed with its order kept. After an interruption its first `len(index)` rows are
    there already, and are for the caller to leave out. Raises MissingExtra without Ray Data.
    """
    try:
        from ray.data import DataContext
    except ImportError as error:
        raise MissingExtra("Ray Data is not installed: pip install 'ray[data]'") from error
    options = DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        index.add_sketches(_parts(dataset, text, unit, index.terms.seed))
    finally:
        options.preserve_order = before


def _parts(
    dataset: "Dataset", text: str, unit: str, seed: int
) -> Iterator[tuple[Sketches, list[str]]]:
    sketched = dataset.map_batches(
        _columns,
        batch_size=PIECE,
        batch_format="numpy",
        fn_kwargs={"text": text, "unit": unit, "seed": seed},
    )
    for batch in sketched.iter_batches(batch_size=PIECE, batch_format="numpy"):
        shingles = [np.frombuffer(one, np.uint32) for one in batch["shingles"]]
        part = Sketches(
            np.concatenate(shingles),
            np.append(0, np.cumsum([len(one) for one in shingles])),
            np.frombuffer(b"".join(batch["keys"]), np.uint64).reshape(-1, BANDS),
        )
        yield part, batch["unit"].tolist()


def _columns(batch: dict[str, Any], text: str, unit: str, seed: int) -> dict[str, Any]:
    """What `Sketches` of a batch holds, as a row of bytes for each document."""
    made = sketch(batch[text].tolist(), seed)
    return {
        "unit": batch[unit],
        "shingles": [one.tobytes() for one in np.split(made.shingles_S, made.starts[1:-1])],
        "keys": [one.tobytes() for one in made.keys_DB],
    }
