"""A consortium on one machine: writes the folders that a coordinator and its sites would have, has
every site approve the charter, and runs the study with the code that is deployed."""

import hashlib
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import tomli_w
import torch

from fedward_client import consent
from fedward_client.settings import SETTINGS_FILE
from fedward_client.site import Site
from fedward_server.drafting import bounded, initial_tensors
from fedward_server.observer import Observer
from fedward_server.studies import STUDY_FILE, StartSettings, Study
from fedward_shared import base_models, records, tasks, tensors
from fedward_shared import charter as charters
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import (
    WITHOUT_DP,
    AdapterTerms,
    AggregationTerms,
    BaseModelTerms,
    Participant,
    Party,
    PrivacyTerms,
    SecureAggregationTerms,
    TaskTerms,
    TrainingTerms,
)
from fedward_shared.files import write_atomically
from fedward_shared.identity import SigningKey
from fedward_shared.privacy import accountant
from fedward_shared.privacy.unit import Unit
from fedward_shared.report import RoundRecord
from fedward_shared.tasks.base import Columns, StudyModel
from fedward_simulations import federation
from fedward_simulations.engines import Engine

COORDINATOR = "coordinator"
COORDINATOR_KEY_FILE = "coordinator.key"
KEY_FILE = "site.key"
DATASET = "records"
OWNER = "owner"
RECORDS_FILE = "records.jsonl"
EVALUATION_FILE = "evaluation.jsonl"


@dataclass(frozen=True)
class Recipe:
    """How a study trains: everything of a charter that is a choice and not a fact.

    `name_length`: the head starts at the names of the labels, each row of that length (0: at zero).
    `aimed`: each A starts at principal directions of public text, not at random ones.
    `aggregation`, `privacy`: more of their terms, by name.
    `unit`: who is protected; a patient or customer is named by the column `owner` of the records.
    `reserve_rounds`: how many rounds more than it plans the ε of the study pays for, for a site that
    loses one it has booked. `ranks`: those of sites whose adapters have less than the study's.
    """

    adapter: AdapterTerms
    training: TrainingTerms
    sampling_rate: float
    clipping_norm: float = 1.0
    server_optimizer: str = "fedavg"
    server_learning_rate: float = 1.0
    server_momentum: float = 0.0
    name_length: float = 0.0
    aimed: bool = False
    reserve_rounds: int = 0
    unit: Unit = "record"
    ranks: Mapping[str, int] = field(default_factory=dict)
    aggregation: Mapping[str, object] = field(default_factory=dict)
    privacy: Mapping[str, object] = field(default_factory=dict)
    masks: SecureAggregationTerms | None = None


@dataclass(frozen=True)
class World:
    """Who holds what: the facts that every study of a scenario shares.

    `public` is text that belongs to nobody; feature statistics and A come from it. `folder` receives one
    folder for each study. The last `dropping` sites drop out in the middle of each masked round.
    """

    folder: Path
    base_model: Path
    task: TaskTerms
    sites: Mapping[str, Columns]
    evaluation: Columns
    public: Columns | None
    purpose: str
    delta: float
    seed: int
    threads: int
    engine: Engine
    dropping: int = 0


@dataclass(frozen=True)
class Outcome:
    """What one study came to. `epsilon` is the largest that a site's ledger shows, None without DP."""

    study: Study
    records: list[RoundRecord]
    metrics: dict[str, float]
    epsilon: float | None
    sites: list[Path] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Time of all rounds."""
        return sum(record.seconds for record in self.records)


def units(columns: Columns, unit: Unit) -> int:
    """How many of them `columns` hold records of."""
    return size(columns) if unit == "record" else len(set(columns[OWNER]))


def size(columns: Columns) -> int:
    """How many records `columns` hold."""
    return len(next(iter(columns.values())))


class Consortium:
    """Runs studies of one world."""

    def __init__(self, world: World, observer: Observer) -> None:
        self.world = world
        self.observer = observer

    def run(
        self,
        name: str,
        recipe: Recipe,
        epsilon: float | None,
        sites: Mapping[str, Columns] | None = None,
        every_round: bool = True,
    ) -> Outcome:
        """Runs the study `name`, or what is left of it, among `sites` (all of the world's).

        `epsilon` is each site's budget for the whole study, None for a study without DP.
        """
        coordinator, settings = self.prepare(name, recipe, epsilon, sites, every_round)
        study = Study(coordinator)
        study.read()
        if not study.is_complete:
            world, dropping = self.world, self.world.dropping if recipe.masks else 0
            federation.run(coordinator, settings, world.seed, self.observer, world.engine, dropping)
            study.read()
        spent = [e for e in study.records[-1].epsilon.values() if e is not None]
        return Outcome(
            study, study.records, study.records[-1].metrics, max(spent) if spent else None, settings
        )

    def prepare(
        self,
        name: str,
        recipe: Recipe,
        epsilon: float | None,
        sites: Mapping[str, Columns] | None = None,
        every_round: bool = True,
    ) -> tuple[Path, list[Path]]:
        """The study's folder and the `site.toml` of each site, written unless they are there."""
        # Before the first tensor: the initial ones, and so the charter's digest, may depend on it.
        torch.set_num_threads(self.world.threads)
        holders = self.world.sites if sites is None else sites
        folder = self.world.folder / name
        coordinator = folder / "coordinator"
        if not (coordinator / STUDY_FILE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            self._write(folder, coordinator, name, recipe, epsilon, holders, every_round)
        return coordinator, [folder / "sites" / site / SETTINGS_FILE for site in holders]

    def model(self, outcome: Outcome) -> StudyModel:
        """The model a study ended with."""
        charter = outcome.study.charter
        model = tasks.build(self.world.base_model, charter.task, charter.adapter)
        model.load(outcome.study.initial, "initial tensors")
        model.load(outcome.study.adapter, "final adapter")
        return model

    def _write(
        self,
        folder: Path,
        coordinator: Path,
        name: str,
        recipe: Recipe,
        epsilon: float | None,
        holders: Mapping[str, Columns],
        every_round: bool,
    ) -> None:
        world = self.world
        initial = self._initial(recipe)
        charter = Charter(
            study=name,
            purpose=world.purpose,
            legal_basis="None is needed: a simulation on one machine",
            expires=date.max,
            coordinator=Party(name=COORDINATOR, key=self._key(COORDINATOR).public.text),
            dataset=DATASET,
            base_model=BaseModelTerms(digest=base_models.digest(world.base_model)),
            initial=tensors.digest(initial),
            task=world.task,
            adapter=recipe.adapter,
            privacy=_privacy(recipe, epsilon, world.delta),
            training=recipe.training,
            aggregation=AggregationTerms.model_validate(
                {
                    "minimum_cohort": len(holders),
                    "server_optimizer": recipe.server_optimizer,
                    "server_learning_rate": recipe.server_learning_rate,
                    "server_momentum": recipe.server_momentum,
                    **recipe.aggregation,
                }
            ),
            secure_aggregation=recipe.masks,
            participants=tuple(
                Participant(
                    name=site,
                    records=units(columns, recipe.unit),
                    key=self._key(site).public.text,
                    rank=recipe.ranks.get(site),
                )
                for site, columns in holders.items()
            ),
        )
        for site, columns in holders.items():
            cohort = charter.aggregation.minimum_cohort
            self._write_site(folder / "sites" / site, site, columns, recipe, epsilon, cohort)
        charter = bounded(charter, initial)
        charters.save(coordinator, charter, initial, self._key(COORDINATOR))
        records.write_jsonl(coordinator / EVALUATION_FILE, world.evaluation)
        self._key(COORDINATOR).save(coordinator / COORDINATOR_KEY_FILE)
        for site in holders:
            with closing(Site.open(folder / "sites" / site / SETTINGS_FILE)) as opened:
                consent.approve(opened, coordinator)
        settings = {
            "base_model": str(world.base_model.resolve()),
            "key": COORDINATOR_KEY_FILE,
            "evaluation": EVALUATION_FILE,
            "evaluate": "every-round" if every_round else "last-round",
            "threads": world.threads,
            "poll_seconds": 0.01,
            "gather_seconds": 600.0,  # Ray takes its time to start
        }
        # Last, and atomically: a folder with this file in it is whole.
        write_atomically(coordinator / STUDY_FILE, tomli_w.dumps(settings).encode())

    def _key(self, name: str) -> SigningKey:
        """A key that follows from the seed: the same seed gives the same charters."""
        return SigningKey.from_seed(
            hashlib.sha256(f"fedward simulation {self.world.seed} {name}".encode()).digest()
        )

    def _initial(self, recipe: Recipe) -> tensors.Tensors:
        world = self.world
        start = StartSettings(aimed=recipe.aimed, name_length=recipe.name_length, seed=world.seed)
        public = world.public["text"] if world.public is not None else None
        return initial_tensors(world.base_model, world.task, recipe.adapter, start, public)

    def _write_site(
        self,
        folder: Path,
        name: str,
        columns: Columns,
        recipe: Recipe,
        epsilon: float | None,
        cohort: int,
    ) -> None:
        world = self.world
        records.write_jsonl(folder / RECORDS_FILE, columns)
        self._key(name).save(folder / KEY_FILE)
        settings = {
            "name": name,
            "key": KEY_FILE,
            "coordinators": {COORDINATOR: self._key(COORDINATOR).public.text},
            "base_models": [str(world.base_model.resolve())],
            "threads": world.threads,
            "minimum_cohort": cohort,
            "secure_aggregation": "required" if recipe.masks else "optional",
            "distributed_noise": "accepted"
            if recipe.masks and recipe.masks.noise == "distributed"
            else "refused",
            "without_dp": WITHOUT_DP if epsilon is None else "",
            "keep_prepared": world.engine == "flower",
            "datasets": {
                DATASET: {
                    "path": RECORDS_FILE,
                    "account": DATASET,
                    "epsilon": epsilon or 1.0,
                    "delta": world.delta,
                    **({} if recipe.unit == "record" else {"owner": OWNER}),
                }
            },
        }
        write_atomically(folder / SETTINGS_FILE, tomli_w.dumps(settings).encode())


def _privacy(recipe: Recipe, epsilon: float | None, delta: float) -> PrivacyTerms:
    if epsilon is None:
        return PrivacyTerms(
            mechanism="none",
            without_dp=WITHOUT_DP,
            sampling_rate=recipe.sampling_rate,
            unit=recipe.unit,
        )
    terms = PrivacyTerms.model_validate(
        {
            "unit": recipe.unit,
            "epsilon": epsilon,
            "delta": delta,
            "clipping_norm": recipe.clipping_norm,
            "noise_multiplier": 1.0,
            "sampling_rate": recipe.sampling_rate,
            **recipe.privacy,
        }
    )
    steps = (recipe.training.rounds + recipe.reserve_rounds) * recipe.training.local_steps
    rate = terms.bands * recipe.sampling_rate
    noise = accountant.noise_for(rate, steps // terms.bands, epsilon, delta)
    return terms.model_copy(update={"noise_multiplier": noise})
