"""The rows of a step: the same over any number of workers, and none of those that are held out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from server.pretraining.corpus.written import write_corpus

from fedward_server.pretraining.corpus.data import Data, share
from fedward_server.pretraining.corpus.objectives import Objective, ObjectiveTerms, Symbols
from fedward_server.pretraining.corpus.store import Store
from fedward_shared.errors import StateError, UsageError

SYMBOLS = Symbols(vocabulary=4000, padding=0, special=frozenset({0, 1}), mask=1)
LENGTH = 8


@pytest.fixture
def corpus(tmp_path: Path) -> Store:
    """Two sources and one for evaluation, in which each token is another."""
    tokens = np.arange(2, 4000)
    parts = {"icd": tokens[:1601], "zh": tokens[1601:2404], "exam": tokens[2404:2804]}
    return write_corpus(
        tmp_path,
        {
            name: [[document.tolist() for document in np.array_split(part, 9)]]
            for name, part in parts.items()
        },
        4000,
        evaluation=("exam",),
    )


def data(corpus: Store, kind: str = "causal", **others: Any) -> Data:
    objective = Objective(ObjectiveTerms.model_validate({"kind": kind}), SYMBOLS, LENGTH, 1)
    settings: dict[str, Any] = {"batch": 12, "seed": 1, "held_out": 15} | others
    return Data(corpus, {"icd": 3.0, "zh": 1.0}, objective, **settings)


def taken(source: Data, steps: int, state: dict[str, Any] | None = None) -> list[Any]:
    feeder = source.feed(state)
    try:
        return [feeder.next() for _ in range(steps)]
    finally:
        feeder.close()


def tokens(*batches: Any) -> set[int]:
    return {token for batch in batches for token in batch.tokens_BT.flatten().tolist()}


def test_an_epoch_has_all_rows_but_those_held_out(corpus: Store) -> None:
    source = data(corpus)
    assert source.sizes == {"icd": 185, "zh": 90}
    held_out = source.held_out()
    assert {name: len(batch) for name, batch in held_out.items()} == {
        "icd": 15,
        "zh": 10,
        "exam": 15,
    }
    seen = tokens(*(fed.rows for fed in taken(source, 32)))
    assert seen & tokens(*held_out.values()) == set()
    icd = set(range(2, 2 + 1600))
    assert (seen | tokens(held_out["icd"])) & icd == icd
    assert not seen & set(range(2406, 2806))
    assert tokens(held_out["exam"]) <= set(range(2406, 2806))
    rows = np.sort(held_out["icd"].tokens_BT[:, 0].numpy())
    assert rows[0] < 500
    assert rows[-1] > 1100, "held-out rows lie all over the source"


@pytest.mark.parametrize("kind", ["causal", "masked"])
@pytest.mark.parametrize("workers", [2, 3, 5])
def test_workers_together_have_the_rows_of_one(corpus: Store, kind: str, workers: int) -> None:
    alone = taken(data(corpus, kind), 4)
    parts = [
        taken(data(corpus, kind, worker=number, workers=workers), 4) for number in range(workers)
    ]
    for step, fed in enumerate(alone):
        for name in ("tokens_BT", "documents_BT", "positions_BT", "labels"):
            together = torch.cat([getattr(part[step].rows, name) for part in parts])
            assert torch.equal(together, getattr(fed.rows, name))
        assert all(part[step].state == fed.state for part in parts)
    whole = data(corpus, kind).held_out()["icd"].tokens_BT
    shares = [
        data(corpus, kind, worker=number, workers=workers).held_out()["icd"].tokens_BT
        for number in range(workers)
    ]
    assert len({len(part) for part in shares}) == 1
    assert torch.equal(torch.cat(shares), whole[: 15 // workers * workers])


def test_it_goes_on_where_it_was_and_in_another_ratio(corpus: Store) -> None:
    source = data(corpus, "masked")
    fed = taken(source, 6)
    again = taken(data(corpus, "masked"), 3, fed[2].state)
    for one, other in zip(fed[3:], again, strict=True):
        assert torch.equal(one.rows.tokens_BT, other.rows.tokens_BT)
        assert torch.equal(one.rows.labels, other.rows.labels)
        assert one.state == other.state
    assert source.weights(fed[2].state) == {"icd": 0.75, "zh": 0.25}
    state = source.reweighted(fed[2].state, {"icd": 1.0, "zh": 1.0})
    assert source.weights(state) == {"icd": 0.5, "zh": 0.5}
    assert source.epochs(state) == {"icd": 27 / 185, "zh": 9 / 90}
    assert source.epochs(taken(source, 1, state)[0].state) == {"icd": 33 / 185, "zh": 15 / 90}


@pytest.mark.parametrize("rows", [1, 7, 12])
@pytest.mark.parametrize("workers", [1, 2, 5, 12])
def test_each_row_is_one_workers(rows: int, workers: int) -> None:
    parts = [range(*share(rows, worker, workers)) for worker in range(workers)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert all(row * workers // rows == worker for worker, part in enumerate(parts) for row in part)


def test_what_the_corpus_does_not_have_is_refused(corpus: Store) -> None:
    objective = Objective(ObjectiveTerms(kind="causal"), SYMBOLS, LENGTH, 1)
    with pytest.raises(
        UsageError, match=r"\['exam'\] are not in the corpus, or there for evaluation"
    ):
        Data(corpus, {"icd": 1.0, "exam": 1.0}, objective, 12, 1)
    long = Objective(ObjectiveTerms(kind="causal"), SYMBOLS, 1024, 1)
    with pytest.raises(UsageError, match=r"\['zh'\] have no row: give more text"):
        Data(corpus, {"icd": 1.0, "zh": 1.0}, long, 12, 1)
    state = taken(data(corpus), 1)[0].state
    with pytest.raises(StateError, match="go on with the corpus"):
        data(corpus, held_out=14).weights(state)
