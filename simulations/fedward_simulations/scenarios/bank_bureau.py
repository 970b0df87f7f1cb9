"""A bank and a bureau know different things about the same people: vertical partitioning."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fedward_client.vertical.records import PartyRecords
from fedward_shared import report
from fedward_shared.report import MetricSpec, Result, Row, SiteSummary
from fedward_shared.vertical import planning
from fedward_shared.vertical.terms import (
    AlignmentTerms,
    EveryBatchTerms,
    FittingTerms,
    ModelTerms,
    OnceTerms,
    PassiveTerms,
    VerticalTerms,
)
from fedward_simulations import runs, tabular, vertical
from fedward_simulations.comparison import now
from fedward_simulations.data import census, loans
from fedward_simulations.data.halves import IDENTIFIER, RULE, Halves
from fedward_simulations.tabular import Joined, Scores
from fedward_simulations.vertical import Outcome

BANK, BUREAU = "bank", "bureau"
DELTA = 1e-5
EPSILONS = (1.0, 3.0, 8.0)
MAIN = "federated-dp"
"""The study at the last of them, of which the report speaks first."""
EVERY_BATCH_EPSILON = 8.0
EVERY_BATCH_EPOCHS = 3
SMALL = ModelTerms(members=1, width=4, dropout=0.0)
"""Of an exchange for every batch under DP: each number of an embedding gets noise of its own."""
SIZE_STEP = 1000
RECORDS_FILE = "records.csv"
PACKAGES = ("fedward-shared", "torch", "opacus", "dp-accounting", "rbcl", "xgboost-cpu")
METRICS = (
    MetricSpec(name="auc", label="AUC", primary=True),
    MetricSpec(name="average_precision", label="Average precision"),
    MetricSpec(name="megabytes", label="MB between the parties", higher_is_better=False),
    MetricSpec(name="seconds", label="Seconds", higher_is_better=False),
)


@dataclass(frozen=True)
class Source:
    """A public table that is cut in two. `most`: what the charter allows of identifiers; `training`: how
    many people in common are expected to train."""

    held: Callable[[int], Halves]
    about: str
    most: int
    training: int
    fitting: FittingTerms


SOURCES = {
    "loans": Source(
        loans.held,
        "whether a loan is priced in tier D or worse (Lending Club, 2018)",
        20_000,
        6_500,
        FittingTerms(),
    ),
    "census": Source(
        census.held,
        "whether an income is above 50,000 dollars (Census-Income, 1994–95)",
        250_000,
        130_000,
        FittingTerms(epochs=6, batch=512),
    ),
}


@dataclass(frozen=True)
class Options:
    """What a person may choose on the command line."""

    out: Path
    data: str = "loans"
    seed: int = 0
    threads: int = 1


@dataclass
class Table:
    """The rows so far, and the outcome of each study."""

    rows: list[Row] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)


class Scenario:
    """One source, cut in two and written to the parties' files."""

    def __init__(self, options: Options) -> None:
        torch.set_num_threads(options.threads)
        self.options, self.source = options, SOURCES[options.data]
        self.halves = self.source.held(options.seed)
        self.folder = options.out / runs.STUDIES_FOLDER
        self.records = {party: self._read(party) for party in (BANK, BUREAU)}
        self.table = Table()

    def terms(
        self,
        privacy: OnceTerms | EveryBatchTerms | None = None,
        model: ModelTerms | None = None,
        epochs: int | None = None,
    ) -> VerticalTerms:
        """Of a study."""
        fitting = self.source.fitting
        if epochs is not None:
            fitting = fitting.model_copy(update={"epochs": epochs})
        return VerticalTerms(
            active=BANK,
            table=self.halves.active.table,
            label=self.halves.label,
            passive=(PassiveTerms(name=BUREAU, table=self.halves.passive.table),),
            alignment=AlignmentTerms(rules=(RULE,), most=self.source.most, step=SIZE_STEP),
            model=model or ModelTerms(),
            fitting=fitting,
            privacy=privacy,
        )

    def _frame(self, party: str) -> pl.DataFrame:
        return (self.halves.active if party == BANK else self.halves.passive).records

    def _read(self, party: str) -> PartyRecords:
        path = self.folder / party / RECORDS_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        self._frame(party).write_csv(path)
        return PartyRecords.read(path, self.terms(), party, [IDENTIFIER])

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What there is to do, with its name."""
        plain = partial(self._study, "federated", "Vertical without DP", self.terms())
        yield "without DP", plain
        for epsilon in EPSILONS:
            yield f"ε = {epsilon:g}", partial(self._once, epsilon)
        yield "an exchange for every batch", self._every_batch
        for name, label, parties, score in self._baselines():
            yield label, partial(self._baseline, name, label, parties, score)

    def _once(self, epsilon: float) -> None:
        terms = self.terms(planning.once(epsilon, DELTA, self.source.training))
        if epsilon == EPSILONS[-1]:
            self._study(MAIN, "Vertical with DP", terms)
        else:
            self._study(f"{MAIN}-{epsilon:g}", f"Vertical with DP, ε = {epsilon:g}", terms)

    def _every_batch(self) -> None:
        privacy = planning.every_batch(EVERY_BATCH_EPSILON, DELTA, EVERY_BATCH_EPOCHS)
        terms = self.terms(privacy, SMALL, EVERY_BATCH_EPOCHS)
        self._study("every-batch-dp-8", "An exchange for every batch, with DP", terms)

    def _study(self, name: str, label: str, terms: VerticalTerms) -> None:
        outcome = vertical.run(name, terms, self.records, self.folder, self.options.seed)
        self.table.outcomes[name] = outcome
        label_N = self.records[BANK].label_N
        assert label_N is not None
        truth_H = label_N.numpy()[outcome.active.held_out]
        metrics = tabular.scores(truth_H, outcome.active.probability_H.double().numpy())
        privacy = terms.privacy
        self.table.rows.append(
            Row.of(
                name,
                label,
                {**metrics, "megabytes": outcome.bytes / 1e6, "seconds": outcome.seconds},
                epsilon=max(outcome.epsilon.values()) if privacy else None,
                delta=privacy.delta if privacy else None,
            )
        )

    def _baselines(
        self,
    ) -> Iterator[tuple[str, str, tuple[str, ...], Callable[[Joined], Scores]]]:
        options, terms = self.options, self.terms()

        def trees(records: Joined) -> Scores:
            return tabular.xgboost(records, options.seed, options.threads)

        def network(records: Joined) -> Scores:
            return tabular.network(records, terms.model, terms.fitting, str(options.seed))

        yield "alone", "Bank alone, XGBoost", (BANK,), trees
        yield "bank-network", "Bank alone, network", (BANK,), network
        yield "bureau-xgboost", "Bureau alone (with labels), XGBoost", (BUREAU,), trees
        yield "joint-logistic", "Joint, logistic regression", (BANK, BUREAU), tabular.logistic
        yield "joint-network", "Joint, the same network", (BANK, BUREAU), network
        yield "joint-xgboost", "Joint, XGBoost", (BANK, BUREAU), trees

    def _baseline(
        self, name: str, label: str, parties: tuple[str, ...], score: Callable[[Joined], Scores]
    ) -> None:
        """On the records that the studies had in common, in their order."""
        started = time.monotonic()
        joined = self._joined(parties)
        score_H = score(joined)
        metrics = tabular.scores(joined.label_N[joined.training :], score_H)
        seconds = time.monotonic() - started
        self.table.rows.append(
            Row.of(name, label, {**metrics, "megabytes": None, "seconds": seconds}, private=False)
        )

    def _joined(self, parties: tuple[str, ...]) -> Joined:
        active = self.table.outcomes["federated"].active
        label_N = self.records[BANK].label_N
        assert label_N is not None
        rows = {BANK: active.rows, BUREAU: self._rows_of_bureau(active.rows)}
        parts = [
            (self.terms().table_of(party), self._frame(party)[rows[party].tolist()])
            for party in parties
        ]
        return Joined.of(parts, label_N.numpy()[active.rows].astype(np.int64), len(active.training))

    def _rows_of_bureau(self, rows_of_bank: np.ndarray) -> np.ndarray:
        """By the identifiers in the clear, which nobody but a simulation has together."""
        places = {who: row for row, who in enumerate(self.records[BUREAU].identifiers)}
        whole = self.records[BANK].identifiers
        return np.array([places[whole[row]] for row in rows_of_bank.tolist()])

    def sites(self, main: str) -> list[SiteSummary]:
        """The parties in the study `main`."""
        outcome = self.table.outcomes[main]
        totals = {party: sum(outcome.sent[party].values()) for party in self.records}
        return [
            SiteSummary(
                name=party,
                records=len(own.identifiers),
                epsilon=outcome.epsilon[party],
                delta=DELTA,
                epsilon_limit=EPSILONS[-1],
                bytes_up=totals[party],
                bytes_down=sum(totals.values()) - totals[party],
                rounds_joined=1,
            )
            for party, own in self.records.items()
        ]


def run(options: Options, console: Console) -> Result:
    """Runs the scenario into `options.out`."""
    started, clock = now()
    runs.claim(options.out, _command(options))
    scenario = Scenario(options)
    steps = list(scenario.steps())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(steps))
        for name, step in steps:
            progress.update(task, description=name)
            step()
            progress.advance(task)
            if not console.is_terminal:
                row = scenario.table.rows[-1]
                console.print(f"{row.label}: AUC {row.metrics['auc']:.3f}")
    result = _result(scenario, options, started.isoformat(), now()[1] - clock)
    report.write(result, options.out)
    return result


def _result(scenario: Scenario, options: Options, started: str, seconds: float) -> Result:
    table, terms = scenario.table, scenario.terms()
    outcome = table.outcomes[MAIN]
    total = sum(one.bytes for one in table.outcomes.values())
    return Result.model_validate(
        {
            "scenario": "bank-bureau",
            "title": "A bank and a bureau, one model",
            "question": f"How well do both together tell {scenario.source.about}?",
            "started": started,
            "seconds": seconds,
            "seed": options.seed,
            "command": _command(options),
            "versions": {"python": python_version(), **{name: version(name) for name in PACKAGES}},
            "settings": {
                "data": options.data,
                "people of the bank": len(scenario.records[BANK].identifiers),
                "people of the bureau": len(scenario.records[BUREAU].identifiers),
                "people in common": len(outcome.active.rows),
                "held out": len(outcome.active.held_out),
                "δ": DELTA,
                "epochs": terms.fitting.epochs,
                "batch": terms.fitting.batch,
                "embedding": terms.model.embedding,
                "threads": options.threads,
            },
            "metrics": [metric.model_dump() for metric in METRICS],
            "rows": table.rows,
            "sites": scenario.sites(MAIN),
            "bytes_up": total,
            "bytes_down": total,
            "notes": _notes(outcome),
        }
    )


def _notes(outcome: Outcome) -> list[str]:
    return [
        f"The parties found {len(outcome.active.rows)} people in common by private set intersection; "
        "each learns who they are and how many the other has, to the next thousand. ε does not cover "
        "that.",
        "Under DP each party lets out one answer for each person: the bank its label, the bureau in "
        "which part of its scores the person lies. Each answer may be another's, by randomised "
        "response. ε is what each party's ledger shows, for a person's record at that party.",
        "An exchange for every batch sends noised embeddings and gradients again and again; at the same "
        "ε little is left of them.",
        "Rows without ε are not private. Each row is a study of its own with ledgers of its own: they "
        "are alternatives, their ε do not add up.",
        "Seconds of a vertical row are those of both parties, private set intersection included.",
    ]


def _command(options: Options) -> str:
    given = ["fedward simulate bank-bureau"]
    default = Options(out=options.out)
    for name in ("data", "seed", "threads"):
        value = getattr(options, name)
        if value != getattr(default, name):
            given.append(f"--{name} {value}")
    return " ".join(given)
