"""Telling damaged texts from undamaged ones: the head beside what is commonly done without a model.

Damaged pairs are those of an undamaged and a damaged text of groups that no head was trained on; "ranked
wrongly" is 1 - ROC-AUC. The heuristics are length, the share of symbols and how far zlib packs the
text, each alone and in a logistic regression of the same training texts.
"""

import statistics
from pathlib import Path

import torch

from fedward_simulations import quality
from fedward_simulations.bench.rows import Row
from fedward_simulations.data import base_models

PEER = "heuristics, fitted"


def run(folder: Path) -> list[Row]:
    """Rows of kinds left out, of the means beside each peer, of alarms, of misses, and of time."""
    del folder
    torch.set_num_threads(1)
    samples = quality.encoded(quality.collect(), base_models.minilm())
    found = {
        name: quality.measure(samples, columns)
        for name, columns in quality.columns_of(samples).items()
    }
    ours, peer = found.pop("head"), found[PEER]
    rows = [
        _percent(f"{kind}, left out of training: pairs ranked wrongly", wrong, other, PEER)
        for kind, wrong, other in _pairs(ours.misranked, peer.misranked)
    ]
    for name, figures in found.items():
        rows += [
            _percent("mean of kinds, each left out", *_both(ours, figures, "misranked"), name),
            _percent(
                "mean of kinds, three left out", *_both(ours, figures, "misranked_three"), name
            ),
            _percent("all kinds trained on", ours.misranked_known, figures.misranked_known, name),
        ]
    rows += [
        _percent(f"undamaged below the cut: {source}", alarms, other, PEER)
        for source, alarms, other in _pairs(ours.alarms, peer.alarms)
    ]
    rows += [
        _percent(f"damaged above the cut: {kind}", missed, other, PEER)
        for kind, missed, other in _pairs(ours.missed, peer.missed)
    ]
    return [*rows, Row("features of a text", 1e3 * samples.seconds_per_text, unit="ms of CPU")]


def _pairs(ours: dict[str, float], peer: dict[str, float]) -> list[tuple[str, float, float]]:
    return [(name, value, peer[name]) for name, value in ours.items()]


def _both(ours: quality.Figures, peer: quality.Figures, name: str) -> tuple[float, float]:
    return statistics.fmean(getattr(ours, name).values()), statistics.fmean(
        getattr(peer, name).values()
    )


def _percent(name: str, ours: float, peer: float, peer_name: str) -> Row:
    # A ratio to nothing says nothing: a peer that errs nowhere is left out.
    return Row(name, 100 * ours, 100 * peer if peer else None, peer_name if peer else "", "%")
