"""A researcher's own file of texts and labels, split for a simulation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedward_shared import records
from fedward_shared.errors import DataError
from fedward_shared.tasks.base import Columns

EVALUATION_SHARE = 0.2
PUBLIC_SHARE = 0.05
LEAST_RECORDS = 40
GROUP = "group"


@dataclass(frozen=True)
class Corpus:
    """The texts of a scenario: those to deal to the sites, those to score on, and public ones.

    `groups` holds for each training text the value by which `--partition column:NAME` deals them.
    """

    train: Columns
    groups: list[str]
    evaluation: Columns
    public: Columns
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def load(path: Path, columns: dict[str, str], evaluation: int, seed: int) -> Corpus:
    """The records in `path`; `columns` maps text, label and perhaps `group` to the file's columns.

    A fifth of them, at most `evaluation`, is held out for scoring, a twentieth stands for public
    text. Raises DataError that names the file and the field.
    """
    table = records.read(path, list(columns), columns)
    labels = sorted(set(table["label"]))
    count = len(table["label"])
    if len(labels) < 2:
        raise DataError(f"{path}: column {columns['label']!r} has one value only: {labels[0]!r}")
    if count < LEAST_RECORDS:
        raise DataError(f"{path}: {count} records; a simulation needs at least {LEAST_RECORDS}")
    order = np.random.default_rng(seed).permutation(count)
    held_out = min(evaluation, int(count * EVALUATION_SHARE))
    public = max(2, int(count * PUBLIC_SHARE))
    scored, open_, train = np.split(order, [held_out, held_out + public])

    def pick(indices: np.ndarray) -> Columns:
        return {role: [table[role][i] for i in sorted(indices)] for role in ("text", "label")}

    return Corpus(
        train=pick(train),
        groups=[table[GROUP][i] for i in sorted(train)] if GROUP in table else [],
        evaluation=pick(scored),
        public=pick(open_),
        labels=tuple(labels),
        notes=(
            f"The records come from {path.name}: {held_out} were held out for scoring, and {public} "
            "stand for public text, from which the head's feature statistics and the adapters' A "
            "come. The head starts at the labels' names.",
        ),
    )
