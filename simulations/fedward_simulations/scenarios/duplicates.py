"""Hospitals find out which of their letters are nearly another's: diagnoses, some letters copied.

The letters and copies are dealt to the hospitals at random, so that most copies lie with another
hospital than their original. What the hospitals found is held against all pairs, whose shingles are
made and compared by other code.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from fedward_shared.duplicates.terms import DuplicatesTerms
from fedward_shared.files import write_atomically
from fedward_shared.text.duplicates import THRESHOLD
from fedward_simulations import duplicates
from fedward_simulations.bench.dedup_texts import alike, planted, shingles
from fedward_simulations.data import icd10
from fedward_simulations.duplicates import Outcome

RESULT_FILE, FOUND_FILE = "result.json", "alike.csv"
STEP = 100
DIAGNOSES = 8
"""Of one letter."""
Pairs = set[tuple[int, str]]
"""A document's number, and with which other hospital it is nearly a document's."""


@dataclass(frozen=True)
class Options:
    """What a run is asked for. `records`: letters of all hospitals, before a quarter is copied."""

    out: Path
    records: int = 1000
    sites: int = 4
    least: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Dealt:
    """Texts, and whose each is."""

    texts: Sequence[str]
    owners: Sequence[str]

    @classmethod
    def at_random(cls, texts: Sequence[str], sites: int, seed: int) -> "Dealt":
        """Among so many hospitals."""
        drawn = np.random.default_rng([seed, sites]).integers(sites, size=len(texts))
        return cls(texts, [f"hospital-{number}" for number in drawn])

    @cached_property
    def held(self) -> Mapping[str, np.ndarray]:
        """The numbers of each hospital's texts."""
        owners = np.array(self.owners)
        return {name: np.flatnonzero(owners == name) for name in sorted(set(self.owners))}

    @cached_property
    def sets(self) -> Sequence[set[str]]:
        """The shingles of each."""
        return [shingles(text) for text in self.texts]

    def compared(self, least: int, seed: int) -> tuple[DuplicatesTerms, Outcome]:
        """One session, under terms that let each show all that it has."""
        most = max(len(numbers) for numbers in self.held.values())
        terms = DuplicatesTerms(seed=seed + 1, most=most, step=STEP, least=least, shortest=1)
        own = {name: [self.texts[n] for n in numbers] for name, numbers in self.held.items()}
        return terms, duplicates.run(own, terms, seed)

    def true(self, threshold: float) -> Pairs:
        """What is alike across hospitals, from either side."""
        across = [
            (one, other)
            for one, other in alike(self.sets, threshold)
            if self.owners[one] != self.owners[other]
        ]
        both = [*across, *((other, one) for one, other in across)]
        return {(one, self.owners[other]) for one, other in both}

    def found(self, outcome: Outcome, least: int) -> Pairs:
        """What each hospital is told of its own, from so many bands on."""
        return {
            (int(number), peer)
            for name, numbers in self.held.items()
            for peer, counts_D in outcome.found[name].items()
            for number in numbers[counts_D >= least]
        }


def run(options: Options, console: Console) -> dict[str, Any]:
    """Runs the study; writes `result.json`, and what each hospital found into a folder of its own."""
    drawn = np.random.default_rng(options.seed)
    known = [record.text for record in icd10.load(0).train]
    diagnoses_ND = drawn.integers(len(known), size=(options.records, DIAGNOSES))
    texts = ["; ".join(known[n] for n in row) for row in diagnoses_ND]
    dealt = Dealt.at_random(planted(texts, options.seed), options.sites, options.seed)
    terms, outcome = dealt.compared(options.least, options.seed)
    found, true = dealt.found(outcome, options.least), dealt.true(THRESHOLD)
    for name, numbers in dealt.held.items():
        place = {int(number): row for row, number in enumerate(numbers, start=1)}
        rows = sorted((place[n], peer) for n, peer in found if dealt.owners[n] == name)
        _write(options.out / name / FOUND_FILE, rows)
        console.print(f"{name}: of {len(numbers)} texts {len(rows)} are nearly another hospital's")
    result: dict[str, Any] = {
        "terms": terms.model_dump(mode="json"),
        "documents": {name: len(numbers) for name, numbers in dealt.held.items()},
        "alike": len(true),
        "found": len(found),
        "recall": len(found & true) / max(1, len(true)),
        "precision": len(found & true) / max(1, len(found)),
        "seconds": outcome.seconds,
        "bytes": dict(sorted(outcome.sent.items())),
    }
    data = json.dumps(result, indent=1).encode()
    write_atomically(options.out / RESULT_FILE, data)
    console.print(
        f"recall {result['recall']:.3f}, precision {result['precision']:.3f} against a Jaccard "
        f"similarity of {THRESHOLD}; {max(outcome.seconds.values()):.1f} s of a core at most, "
        f"{max(outcome.sent.values()) / 1e6:.1f} MB sent at most by one"
    )
    console.print(str(options.out / RESULT_FILE))
    return result


def _write(path: Path, rows: Sequence[tuple[int, str]]) -> None:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows([("record", "site"), *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, made.getvalue().encode(), mode=0o600)
