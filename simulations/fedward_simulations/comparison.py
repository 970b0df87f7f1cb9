"""Runs the studies of a scenario one after the other and makes its result of them."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from platform import python_version

from fedward_client.site import Site
from fedward_shared.annotation.documents import parse_entities
from fedward_shared.report import MetricSpec, Result, Row, Sample, SiteSummary
from fedward_shared.tasks.base import Columns
from fedward_simulations.consortium import Consortium, Outcome, Recipe, World, size
from fedward_simulations.view import Job, LiveView

PACKAGES = ("fedward-shared", "torch", "flwr", "opacus", "peft", "transformers", "dp-accounting")
CLASSIFICATION = (
    MetricSpec(name="accuracy", label="Accuracy", format="percent"),
    MetricSpec(name="macro_f1", label="Macro-F1", primary=True),
)
ENTITIES = (
    MetricSpec(name="span_f1", label="Span-F1", primary=True),
    MetricSpec(name="macro_span_f1", label="Macro span-F1"),
)
LANGUAGE = (MetricSpec(name="perplexity", label="Perplexity", higher_is_better=False),)


@dataclass(frozen=True)
class Entry:
    """A row of the table: one study, or several alike whose mean and spread the row shows.

    `studies` maps the name of each study to the sites that take part. `cost` is the expected time of
    one site's round in comparison with other entries.
    """

    name: str
    label: str
    recipe: Recipe
    epsilon: float | None
    studies: Mapping[str, Mapping[str, Columns]]
    cost: float = 1.0

    @property
    def rounds(self) -> int:
        """Rounds of each of its studies."""
        return self.recipe.training.rounds


@dataclass(frozen=True)
class Report:
    """What a report says besides its figures."""

    scenario: str
    title: str
    question: str
    command: str
    settings: Mapping[str, str | int | float | bool | None]
    notes: Sequence[str]


class Comparison:
    """All entries over one world."""

    def __init__(self, world: World, entries: Sequence[Entry], view: LiveView) -> None:
        self.world = world
        self.entries = entries
        self.view = view
        self.consortium = Consortium(world, view)
        self.outcomes: dict[str, Outcome] = {}

    def run(self) -> None:
        """Runs every study, or what is left of it."""
        job = 0
        for entry in self.entries:
            for study, sites in entry.studies.items():
                self.view.begin(job)
                job += 1
                self.outcomes[study] = self.consortium.run(
                    study, entry.recipe, entry.epsilon, sites, every_round=study == entry.name
                )

    def row(self, entry: Entry) -> Row:
        """The table's line for `entry`: the mean over its studies, and their deviation."""
        outcomes = [self.outcomes[study] for study in entry.studies]
        shown = {spec.name for spec in (*CLASSIFICATION, *LANGUAGE)}
        names = [name for name in outcomes[0].metrics if name in shown]
        values = {name: [outcome.metrics[name] for outcome in outcomes] for name in names}
        spent = [outcome.epsilon for outcome in outcomes if outcome.epsilon is not None]
        return Row.of(
            entry.name,
            entry.label,
            {name: statistics.fmean(values[name]) for name in names},
            epsilon=max(spent) if spent else None,
            delta=self.world.delta if spent else None,
            spread={name: statistics.stdev(values[name]) for name in names}
            if len(outcomes) > 1
            else {},
        )

    def result(
        self,
        report: Report,
        metrics: Sequence[MetricSpec],
        first_rows: Sequence[Row],
        main: str,
        alone: Mapping[str, str],
        started: datetime,
        seconds: float,
        samples: Sequence[Sample] = (),
    ) -> Result:
        """The scenario's result. `main` is the study whose sites are shown, `alone` maps each site
        that also trained by itself to that study's name."""
        records = [record for outcome in self.outcomes.values() for record in outcome.records]
        return Result(
            scenario=report.scenario,
            title=report.title,
            question=report.question,
            started=started,
            seconds=seconds,
            seed=self.world.seed,
            command=report.command,
            versions={"python": python_version(), **{name: version(name) for name in PACKAGES}},
            settings=dict(report.settings),
            metrics=list(metrics),
            rows=[*first_rows, *(self.row(entry) for entry in self.entries)],
            rounds=records,
            sites=self._sites(self.outcomes[main], alone),
            bytes_up=sum(record.bytes_up for record in records),
            bytes_down=sum(record.bytes_down for record in records),
            samples=list(samples),
            notes=list(report.notes),
        )

    def _sites(self, main: Outcome, alone: Mapping[str, str]) -> list[SiteSummary]:
        summaries = []
        cohort = len(main.study.charter.participants)
        for path in main.sites:
            site = Site.open(path)
            (dataset,) = site.settings.datasets.values()
            spending = site.ledger.spending(dataset.account)
            site.close()
            columns = self.world.sites[site.name]
            joined = [record for record in main.records if site.name in record.cohort]
            private = spending.epsilon != float("inf")
            own = self.outcomes.get(alone.get(site.name, ""))
            summaries.append(
                SiteSummary(
                    name=site.name,
                    records=size(columns),
                    epsilon=spending.epsilon if private else None,
                    delta=spending.delta if private else None,
                    epsilon_limit=dataset.epsilon if private else None,
                    bytes_up=sum(record.bytes_up for record in joined) // cohort,
                    bytes_down=sum(record.bytes_down for record in joined) // cohort,
                    alone=own.metrics if own else {},
                    labels=_counts(_labels(columns)),
                    rounds_joined=len(joined),
                )
            )
        return summaries


def jobs(entries: Sequence[Entry]) -> list[Job]:
    """What the live view needs to know of the studies to come."""
    return [
        Job(study, entry.label, entry.rounds, len(sites), entry.cost)
        for entry in entries
        for study, sites in entry.studies.items()
    ]


def now() -> tuple[datetime, float]:
    """Wall-clock time and a monotonic one, for a result's `started` and `seconds`."""
    return datetime.now(UTC), time.monotonic()


def _labels(columns: Columns) -> list[str]:
    """Those of the records, or of the entities in them."""
    entities = (parse_entities(text, "entities") for text in columns.get("entities", []))
    return [*columns.get("label", []), *(entity.label for own in entities for entity in own)]


def _counts(labels: Sequence[str]) -> dict[str, int]:
    return {label: labels.count(label) for label in sorted(set(labels))}
