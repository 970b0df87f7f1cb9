"""Texts and images in vertical studies, beside the same studies without them.

    python -m fedward_simulations.bench.contents FOLDER [SEEDS]

Handwritten digits (scikit-learn's, 1,797 of 8 × 8 points), of which one party has the upper half and the
label, the other one the lower half: ten classes. Diagnoses of the five largest chapters of ICD-10-CM, of
which one party has the first three words and the chapter, the other one all others. And the loans of
`bank-bureau` with the applicant's job in the applicant's words (`emp_title`) at the bank.

What was measured before is not measured again.
"""

import base64
import io
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score

from fedward_client.vertical.records import PartyRecords
from fedward_shared import base_models
from fedward_shared.charter_terms import AdapterTerms, BaseModelTerms
from fedward_shared.vertical import planning
from fedward_shared.vertical.columns import ImageColumn, NumberColumn, TextColumn
from fedward_shared.vertical.terms import (
    AlignmentTerms,
    FittingTerms,
    ModelTerms,
    PassiveTerms,
    VerticalTerms,
)
from fedward_simulations import tabular, vertical
from fedward_simulations.bench import kept
from fedward_simulations.bench.rows import spread
from fedward_simulations.data import icd10, loans
from fedward_simulations.data.base_models import minilm
from fedward_simulations.data.halves import IDENTIFIER, RULE, Halves, halves

ACTIVE, PASSIVE = "active", "passive"
DELTA = 1e-5
SEEDS = 3
SIDE = 16
"""Of an image, into which half a digit is put."""
CHAPTERS, FIRST_WORDS = 5, 3
HEAD_ONLY = AdapterTerms(method="head-only")
LORA = AdapterTerms(method="lora", rank=4, alpha=1, target_modules=("query", "value"), layers=(5,))
NOTHING = NumberColumn(name="nothing", most=1)
"""A column that says nothing, of a party whose columns are left out."""


@dataclass(frozen=True)
class Task:
    """What a study learns, by which ε. `held`: the columns of both parties, for a seed; `balanced`:
    whether classes count by how frequent they are, which of public data everybody knows."""

    held: Callable[[int], Halves]
    model: ModelTerms
    fitting: FittingTerms
    training: int
    epsilons: tuple[float | None, ...] = (None, 8.0)
    balanced: bool = False


def _text(name: str, max_tokens: int, adapter: AdapterTerms) -> TextColumn:
    digest = base_models.digest(minilm())
    return TextColumn(
        name=name,
        max_tokens=max_tokens,
        base_model=BaseModelTerms(digest=digest),
        adapter=adapter,
    )


def _jobs(with_text: bool, seed: int) -> Halves:
    more = (_text("emp_title", 8, HEAD_ONLY),) if with_text else ()
    return halves(loans.whole(), (*loans.BANK, *more), loans.BUREAU, loans.LABEL, seed)


def _diagnoses(with_rest: bool, adapter: AdapterTerms, seed: int) -> Halves:
    found = icd10.load(0).tuning
    largest = {name for name, _ in Counter(one.label for one in found).most_common(CHAPTERS)}
    kept_records = [one for one in found if one.label in largest]
    words = [one.text.split() for one in kept_records]
    whole = pl.DataFrame(
        {
            "first": [" ".join(own[:FIRST_WORDS]) for own in words],
            "rest": [" ".join(own[FIRST_WORDS:]) for own in words],
            NOTHING.name: ["0"] * len(words),
            "chapter": [one.label for one in kept_records],
        }
    )
    first, rest = _text("first", 8, adapter), _text("rest", 16, adapter)
    return halves(whole, (first,), (rest if with_rest else NOTHING,), "chapter", seed)


def _digits(with_lower: bool, seed: int) -> Halves:
    data = load_digits()
    columns = {
        name: [_png(digit[rows]) for digit in data.images]
        for name, rows in (("upper", slice(0, 4)), ("lower", slice(4, 8)))
    }
    label = [str(number) for number in data.target]
    whole = pl.DataFrame({**columns, NOTHING.name: ["0"] * len(label), "digit": label})
    upper, lower = (
        ImageColumn(name=name, height=SIDE, width=SIDE, channels=1) for name in ("upper", "lower")
    )
    return halves(whole, (upper,), (lower if with_lower else NOTHING,), "digit", seed)


def _png(point_HW: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray((point_HW * (255 / 16)).astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


LOANS = partial(
    Task, model=ModelTerms(), fitting=FittingTerms(epochs=5), training=6_500, epsilons=(None,)
)
DIAGNOSES = partial(
    Task, model=ModelTerms(hidden=32), fitting=FittingTerms(epochs=6, batch=32), training=1_500
)
DIGITS = partial(
    Task,
    model=ModelTerms(hidden=32),
    fitting=FittingTerms(epochs=20, batch=32),
    training=1_160,
)
TASKS = {
    "digits, upper half": DIGITS(partial(_digits, False)),
    "digits, both halves": DIGITS(partial(_digits, True)),
    "diagnoses, first words": DIAGNOSES(partial(_diagnoses, False, HEAD_ONLY)),
    "diagnoses, all words": DIAGNOSES(partial(_diagnoses, True, HEAD_ONLY)),
    "diagnoses, first words, balanced": DIAGNOSES(
        partial(_diagnoses, False, HEAD_ONLY), epsilons=(8.0,), balanced=True
    ),
    "diagnoses, all words, balanced": DIAGNOSES(
        partial(_diagnoses, True, HEAD_ONLY), epsilons=(8.0,), balanced=True
    ),
    "diagnoses, all words, LoRA": DIAGNOSES(partial(_diagnoses, True, LORA), epsilons=(None,)),
    "loans, without the job": LOANS(partial(_jobs, False)),
    "loans, with the job": LOANS(partial(_jobs, True)),
}


def _measure(task: Task, epsilon: float | None, seed: int, folder: Path) -> dict[str, float]:
    held = task.held(seed)
    counts = Counter(held.active.records[held.label])
    classes = tuple(sorted(counts))
    weights = [counts.total() / (len(classes) * counts[name]) for name in classes]
    terms = VerticalTerms(
        active=ACTIVE,
        table=held.active.table,
        label=held.label,
        classes=classes,
        class_weights=tuple(weights) if task.balanced else (),
        passive=(PassiveTerms(name=PASSIVE, table=held.passive.table),),
        alignment=AlignmentTerms(rules=(RULE,), most=20_000, step=1000),
        model=task.model,
        fitting=task.fitting,
        privacy=planning.once(epsilon, DELTA, task.training, len(classes)) if epsilon else None,
    )
    records = {}
    for party, half in ((ACTIVE, held.active), (PASSIVE, held.passive)):
        path = folder / party / "records.csv"
        path.parent.mkdir(parents=True)
        half.records.write_csv(path)
        records[party] = PartyRecords.read(path, terms, party, [IDENTIFIER], folders=[minilm()])
    outcome = vertical.run("contents", terms, records, folder, seed)
    label_N = records[ACTIVE].label_N
    assert label_N is not None
    truth_H = label_N.numpy()[outcome.active.held_out]
    probability_H = outcome.active.probability_H.double().numpy()
    found = tabular.scores(truth_H, probability_H)
    if len(classes) > 2:
        best_H = probability_H.argmax(axis=1)
        found["accuracy"] = float((best_H == truth_H).mean())
        found["balanced accuracy"] = float(balanced_accuracy_score(truth_H, best_H))
    return {**found, "seconds": outcome.seconds}


def main(folder: Path, seeds: int) -> None:
    """Prints a row for each task and ε, over the seeds."""
    torch.set_num_threads(1)
    for name, task in TASKS.items():
        for epsilon in task.epsilons:
            measured: Sequence[dict[str, float]] = [
                kept.once(
                    folder / f"{name}, {epsilon}, {seed}.json",
                    partial(_measure, task, epsilon, seed),
                )
                for seed in range(seeds)
            ]
            figures = (
                f"{key} {spread([one[key] for one in measured], 1 if key == 'seconds' else 3)}"
                for key in measured[0]
            )
            print(f"{name}, ε = {epsilon or '∞'}: {'; '.join(figures)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else SEEDS)
