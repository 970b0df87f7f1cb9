"""A head that tells the quality of texts, of the site's own labels, and how well it does."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fedward_client.vertical.scores import auc
from fedward_shared import records
from fedward_shared.errors import DataError
from fedward_shared.text import quality
from fedward_shared.text.quality import Encoder, Head

UNDAMAGED = {"undamaged": True, "damaged": False}
HELD_OUT = 5
"""One of so many texts of each kind is held out."""


class Trained(NamedTuple):
    """The head of all labels, from how many of each kind, and the area under the ROC curve of one that
    has not seen a fifth of them; NaN with fewer than five of a kind."""

    head: Head
    undamaged: int
    damaged: int
    auc: float


def train(file: Path, model: Path) -> Trained:
    """Of `file`, JSONL, CSV or Parquet with `text` and `label`, which is `undamaged` or `damaged`.

    Equal texts are held out together. Raises DataError for another label, a text without words, or one
    kind alone, ModelError for no base model.
    """
    read = records.read(file, ("text", "label"), {})
    if unknown := sorted(set(read["label"]) - UNDAMAGED.keys()):
        raise DataError(f"{file}: label {unknown[0]!r} is neither `undamaged` nor `damaged`")
    firsts = [quality.passages(text)[:1] for text in read["text"]]
    if not all(firsts):
        raise DataError(f"{file}: record {firsts.index([]) + 1} has no words; leave it out")
    encoder = Encoder(model)
    features_NF = encoder.features([first for [first] in firsts])
    undamaged_N = np.array([UNDAMAGED[label] for label in read["label"]])
    held_N = _held_out(read["text"], undamaged_N)
    head = quality.fit(encoder.digest, features_NF, undamaged_N)
    measured = float("nan")
    if all((held_N & (undamaged_N == kind)).any() for kind in (True, False)):
        before = quality.fit(encoder.digest, features_NF[~held_N], undamaged_N[~held_N])
        score_H = torch.from_numpy(before.score(features_NF[held_N]))
        measured = auc(score_H, torch.from_numpy(undamaged_N[held_N].astype(np.int64)))
    good = int(undamaged_N.sum())
    return Trained(head, good, len(undamaged_N) - good, measured)


def _held_out(texts: list[str], undamaged_N: np.ndarray) -> np.ndarray:
    """A fifth of the different texts of each kind, by their digests: the same whatever their order."""
    held: set[str] = set()
    for kind in (True, False):
        own = {text for text, good in zip(texts, undamaged_N, strict=True) if good == kind}
        ranked = sorted(own, key=lambda text: hashlib.sha256(text.encode()).digest())
        held |= set(ranked[: len(ranked) // HELD_OUT])
    return np.array([text in held for text in texts])
