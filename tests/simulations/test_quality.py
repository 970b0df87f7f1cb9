"""How heads are judged: AUC against an oracle, groups apart, the same head for a seed."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedward_simulations import quality
from fedward_simulations.data.damage import KINDS
from fedward_simulations.quality import Sample


@pytest.fixture(scope="module")
def samples(tiny_bert_folder: Path) -> quality.Samples:
    rows = []
    for number in range(40):
        text = f"acute infarction of the heart on day {number}, and nothing else was found there."
        rows.append(Sample("notes", f"{number}", "", text))
        for kind in KINDS:
            damaged = KINDS[kind](text, np.random.default_rng(number))
            rows.append(Sample("notes", f"{number}", kind, damaged))
    return quality.encoded(rows, tiny_bert_folder)


def test_auc_is_that_of_scikit_learn() -> None:
    drawn = np.random.default_rng(0)
    good, bad = drawn.integers(0, 9, 40) / 9, drawn.integers(0, 7, 60) / 9
    labels = np.repeat([1, 0], [40, 60])
    expected = roc_auc_score(labels, np.concatenate([good, bad]))
    assert quality.auc(good, bad) == pytest.approx(expected)


def test_every_kind_and_source_is_measured(samples: quality.Samples) -> None:
    columns = quality.columns_of(samples)
    figures = quality.measure(samples, columns["head"])
    assert figures.misranked.keys() == figures.misranked_three.keys() == KINDS.keys()
    assert figures.alarms.keys() == {"notes"}
    assert figures.misranked_known < 0.2
    assert {kind for three in quality.THREES for kind in three} == KINDS.keys()
    head = quality.default_head(samples)
    assert head.base_model in quality.card(samples, head, figures)
    assert set(columns["hidden states alone"]).isdisjoint(columns["surface alone"])
