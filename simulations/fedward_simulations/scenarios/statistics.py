"""Hospitals that tell what they hold before they train: the balance of their labels, lengths, drift.

It is the data of the scenario `hospitals`, and the charter, ledgers and messages of a deployment.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fedward_shared.errors import UsageError
from fedward_shared.statistics import page, planning
from fedward_shared.statistics.figures import SiteFigures, Statistics
from fedward_shared.statistics.summary import summary
from fedward_shared.statistics.terms import CategoryColumn, NumberColumn, StatisticsTerms
from fedward_shared.tasks.base import Columns
from fedward_simulations import runs
from fedward_simulations import statistics as surveys
from fedward_simulations.scenarios import hospitals

LABEL, LENGTH = "label", "characters"
LONGEST = 400.0
BINS = 40
DELTA = 1e-5
FILES = (page.STATISTICS_FILE, page.PAGE_FILE)


@dataclass(frozen=True)
class Options:
    """What a person may choose on the command line."""

    out: Path
    records: int = 3000
    sites: int | None = None
    epsilon: float = 0.5
    partition: str = "dirichlet:0.5"
    seed: int = 0
    data: Path | None = None
    text_column: str = "text"
    label_column: str = "label"


def run(options: Options, console: Console) -> Statistics:
    """Asks the hospitals, and writes figures and page into `options.out`."""
    world = hospitals.Options(
        out=options.out,
        records=options.records,
        sites=options.sites,
        partition=options.partition,
        seed=options.seed,
        data=options.data,
        text_column=options.text_column,
        label_column=options.label_column,
    )
    corpus = hospitals.corpus_of(world)
    holders = {
        site: {**columns, LENGTH: [str(len(text)) for text in columns["text"]]}
        for site, columns in hospitals.holders(world, corpus).items()
    }
    runs.claim(options.out, repr(options), FILES)
    folder = options.out / runs.STUDIES_FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # it takes a moment: there is nothing to go on with
    terms = _terms(options, corpus.labels)
    study = surveys.run(
        folder, holders, terms, "See how the hospitals' diagnoses differ", options.seed
    )
    for name in reversed(FILES):
        shutil.copyfile(study.folder / name, options.out / name)
    found = summary(study.charter, study.tallies, {})
    _tell(found, holders, console)
    console.print(str(options.out / page.PAGE_FILE))
    return found


def _terms(options: Options, labels: tuple[str, ...]) -> StatisticsTerms:
    columns = (
        CategoryColumn(name=LABEL, values=labels),
        NumberColumn(name=LENGTH, low=0.0, high=LONGEST, bins=BINS),
    )
    if not all(labels):
        raise UsageError("--data: a label is empty, which no list of values may have")
    return planning.planned(columns, LABEL, options.epsilon, DELTA)


def _tell(found: Statistics, holders: Mapping[str, Columns], console: Console) -> None:
    for site in found.sites:
        own = holders[site.name]
        console.print(f"{site.name:10} {_of(site)}; truly {len(own['text']):,} records")
    console.print(page.headline(found))


def _of(site: SiteFigures) -> str:
    label, length = site.column(LABEL), site.column(LENGTH)
    common = max(label.shares, key=lambda value: label.shares[value].value)
    said = f"{site.records.value:,.0f} records, most of {common}"
    if length.mean is not None:
        said += f", {length.mean.value:.1f} characters on average"
    if label.drift is not None:
        said += f", drift {label.drift.distance:.3f} (by chance {label.drift.by_chance:.3f})"
    return said
