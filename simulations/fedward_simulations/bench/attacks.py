"""What hostile sites do to a study under each rule of aggregation: 1 of 5 and 3 of 10, coding diagnoses.

    label-flip     trains honestly on records whose labels are all another one
    sign-flip      sends five times its update, backwards
    noise          sends noise, ten times as long as its update
    backdoor       half of its records carry a phrase and the label that the phrase shall call up; it
                   sends five times its update (Bagdasaryan et al. 2020, "How To Backdoor Federated
                   Learning")

A hostile site is the product's own worker, whose trusted side changes the update before it is cleared:
all signatures and ledgers are right, and the norm's bound holds. Every cell is a study of its own; what
is done is kept in `cells.json`, and a benchmark that was stopped goes on.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import Context

from fedward_client import settings as site_settings
from fedward_client.core import Core
from fedward_client.trusted import Trusted
from fedward_server.observer import Observer
from fedward_server.studies import Study
from fedward_shared import records, tasks, tensors
from fedward_shared.files import write_atomically
from fedward_shared.messages import UNSHARED, Sharing, Update
from fedward_shared.rules import RULES, Rule
from fedward_shared.tasks.base import Columns
from fedward_shared.tasks.prepared import prepared
from fedward_shared.tensors import Tensors
from fedward_simulations import federation
from fedward_simulations.bench.kept import scratch
from fedward_simulations.bench.rows import Row, spread
from fedward_simulations.consortium import Consortium, World
from fedward_simulations.federation import PARTITION, SimulatedSites
from fedward_simulations.scenarios import hospitals

CELLS_FILE = "cells.json"
TABLE_FILE = "tables.md"
SEEDS = 3
SETTINGS = ((5, 1), (10, 3))
"""Sites, and how many of them are hostile."""

BUDGETS: tuple[float | None, ...] = (None, 8.0)
ROUNDS = 8
RECORDS, EVALUATION, PUBLIC = 400, 600, 100
BOOST, NOISE = 5.0, 10.0
TRIGGER = " as seen in ward seven"
TARGET = 0
"""The number of the label that the backdoor calls up."""


@dataclass(frozen=True)
class Cell:
    """One study: accuracy on the held-out texts; `success` is how often the trigger calls up its label
    on texts of others.
    """

    sites: int
    hostile: int
    epsilon: float | None
    seed: int
    attack: str
    rule: Rule
    accuracy: float = math.nan
    success: float = math.nan

    @property
    def key(self) -> tuple[object, ...]:
        """What it is, without what came of it."""
        return (self.sites, self.hostile, self.epsilon, self.seed, self.attack, self.rule)


Change = Callable[[Tensors, torch.Generator], Tensors]


def _same(update: Tensors, _: torch.Generator) -> Tensors:
    return update


def _boosted(update: Tensors, _: torch.Generator) -> Tensors:
    return {name: BOOST * tensor for name, tensor in update.items()}


def _backwards(update: Tensors, _: torch.Generator) -> Tensors:
    return {name: -BOOST * tensor for name, tensor in update.items()}


def _noise(update: Tensors, generator: torch.Generator) -> Tensors:
    drawn = {name: torch.randn(t.shape, generator=generator) for name, t in update.items()}
    scale = NOISE * tensors.norm(update) / tensors.norm(drawn)
    return {name: scale * tensor for name, tensor in drawn.items()}


def _unchanged(columns: Columns, _: tuple[str, ...]) -> Columns:
    return columns


def _flipped(columns: Columns, labels: tuple[str, ...]) -> Columns:
    turned = {label: labels[(i + len(labels) // 2) % len(labels)] for i, label in enumerate(labels)}
    return {**columns, "label": [turned[label] for label in columns["label"]]}


def _poisoned(columns: Columns, labels: tuple[str, ...]) -> Columns:
    pairs = list(zip(columns["text"], columns["label"], strict=True))
    changed = [
        (text + TRIGGER, labels[TARGET]) if number % 2 else (text, label)
        for number, (text, label) in enumerate(pairs)
    ]
    return {"text": [text for text, _ in changed], "label": [label for _, label in changed]}


ATTACKS: dict[str, tuple[Callable[[Columns, tuple[str, ...]], Columns], Change]] = {
    "none": (_unchanged, _same),
    "label-flip": (_flipped, _same),
    "sign-flip": (_unchanged, _backwards),
    "noise": (_unchanged, _noise),
    "backdoor": (_poisoned, _boosted),
}


class Hostile(Trusted):
    """A site whose trusted side sends something else than what was trained."""

    def __init__(self, path: Path, change: Change, seed: int) -> None:
        super().__init__(lambda: site_settings.load(path))
        self._change = change
        self._generator = torch.Generator().manual_seed(seed)

    def clear(
        self, booking: int, update: bytes, norms: str = "", sharing: Sharing = UNSHARED
    ) -> Update:
        """As `Core` says, of the changed update: cut to the bound, beyond which nobody would take it."""
        with self._site() as site:
            booked = site.ledger.unanswered(booking)
            charter, _ = self._rounds(site.charters.load(booked.charter))
        self._generator.manual_seed(self._generator.initial_seed() + booked.round)
        changed = self._change(tensors.decode(update, "update"), self._generator)
        most = 0.99 * charter.aggregation.maximum_update_norm
        scale = min(1.0, most / tensors.norm(changed))
        scaled = tensors.encode({name: scale * tensor for name, tensor in changed.items()})
        return super().clear(booking, scaled, norms, sharing)


@dataclass(frozen=True)
class AttackedSites(SimulatedSites):
    """The last `hostile` of the sites are."""

    hostile: int
    change: Change

    @contextmanager
    def core_of(self, context: Context) -> Iterator[Core]:
        """That of a node's site, hostile or not."""
        number = int(context.node_config[PARTITION])
        if number >= len(self.settings) - self.hostile:
            yield Hostile(self.settings[number], self.change, self.seed + 1000 * number)
        else:
            with super().core_of(context) as core:
                yield core


def run(folder: Path) -> list[Row]:
    """All cells that are not done yet; then a row for each attack under each rule, beside the mean."""
    done = _read(folder)
    for wanted in cells():
        if wanted.key not in {cell.key for cell in done}:
            with scratch(folder / "studies") as studies:
                done.append(_measure(studies, wanted))
            write_atomically(
                folder / CELLS_FILE, json.dumps([asdict(cell) for cell in done], indent=0).encode()
            )
    write_atomically(folder / TABLE_FILE, "\n".join(tables(done)).encode())
    return rows(done)


def cells() -> Iterator[Cell]:
    """What is to be measured, a seed after the other, and so that texts are encoded once."""
    for seed in range(SEEDS):
        for epsilon in BUDGETS:
            for sites, hostile in SETTINGS:
                for attack in ATTACKS:
                    for rule in RULES:
                        yield Cell(sites, hostile, epsilon, seed, attack, rule)


def _read(folder: Path) -> list[Cell]:
    try:
        return [Cell(**cell) for cell in json.loads((folder / CELLS_FILE).read_bytes())]
    except FileNotFoundError:
        return []


def _measure(folder: Path, cell: Cell) -> Cell:
    options = hospitals.Options(
        out=folder,
        records=RECORDS,
        evaluation=EVALUATION,
        sites=cell.sites,
        rounds=ROUNDS,
        epsilon=cell.epsilon or hospitals.NOISELESS_EPSILON,
        seed=cell.seed,
        threads=1,
    )
    world = _world(options)
    spoil, change = ATTACKS[cell.attack]
    names = list(world.sites)
    attacked = {
        name: spoil(columns, world.task.labels) if name in names[-cell.hostile :] else columns
        for name, columns in world.sites.items()
    }
    recipe = replace(
        hospitals.entries_of(options, world)[1].recipe,
        aggregation={
            "rule": cell.rule,
            "hostile": 0 if cell.rule == "mean" else cell.hostile,
        },
    )
    consortium = Consortium(world, Observer())
    study, settings = consortium.prepare("attacked", recipe, cell.epsilon, attacked, False)
    simulated = AttackedSites(tuple(settings), cell.seed, cell.hostile, change)
    federation.run_sites(study, simulated, Observer(), "in-process")
    accuracy, success = _scores(world, study)
    return replace(cell, accuracy=accuracy, success=success)


@lru_cache(maxsize=1)
def _world(options: hospitals.Options) -> World:
    world = hospitals.world_of(options, hospitals.corpus_of(options))
    assert world.public is not None
    public = {role: values[:PUBLIC] for role, values in world.public.items()}
    return replace(world, public=public)


def _scores(world: World, folder: Path) -> tuple[float, float]:
    """Accuracy, and how often the trigger succeeds."""
    study = Study(folder)
    study.read()
    model = tasks.build(world.base_model, study.charter.task, study.charter.adapter)
    model.load(study.initial, "initial tensors")
    model.load(study.adapter, "final adapter")
    target = world.task.labels[TARGET]
    others = [
        text
        for text, label in zip(world.evaluation["text"], world.evaluation["label"], strict=True)
        if label != target
    ]
    triggered = {"text": [text + TRIGGER for text in others], "label": [target] * len(others)}
    path = folder / "triggered.jsonl"
    records.write_jsonl(path, triggered)
    # Texts that the cell before has encoded are not encoded again.
    examples = prepared(model, study.charter.base_model.digest, path, {}, None)
    return study.records[-1].metrics["accuracy"], model.evaluate(examples)["accuracy"]


def rows(done: list[Cell]) -> list[Row]:
    """Errors, and for the backdoor its successes, under each rule and under the mean: less is better."""
    found = []
    for sites, hostile in SETTINGS:
        for epsilon in BUDGETS:
            for attack in ATTACKS:
                values = {
                    rule: _values(done, Cell(sites, hostile, epsilon, 0, attack, rule))
                    for rule in RULES
                }
                budget = "without DP" if epsilon is None else f"ε = {epsilon:g}"
                what = "triggered" if attack == "backdoor" else "wrong"
                found += [
                    Row(
                        f"{hostile} of {sites}, {budget}, {attack}, {rule}: {what}",
                        100 * statistics.fmean(values[rule]),
                        100 * statistics.fmean(values["mean"]),
                        "mean",
                        "%",
                    )
                    for rule in RULES[1:]
                    if values[rule] and values["mean"]
                ]
    return found


def _values(done: list[Cell], like: Cell) -> list[float]:
    """Of each seed: how often the trigger succeeds in a backdoor, and else the error."""
    of_it = [cell for cell in done if replace(cell, seed=0).key == like.key]
    if like.attack == "backdoor":
        return [cell.success for cell in of_it]
    return [1 - cell.accuracy for cell in of_it]


def tables(done: list[Cell]) -> list[str]:
    """Accuracy in per cent for people, mean ± deviation over seeds; a table for each setting."""
    lines = []
    for sites, hostile in SETTINGS:
        for epsilon in BUDGETS:
            budget = "without DP" if epsilon is None else f"ε = {epsilon:g}"
            lines += [f"{hostile} of {sites} hostile, {budget}", ""]
            lines.append(f"| rule | {' | '.join(ATTACKS)} | trigger succeeds (without attack) |")
            lines.append("|---" * (len(ATTACKS) + 2) + "|")
            for rule in RULES:
                of_rule = [
                    cell
                    for cell in done
                    if (cell.sites, cell.epsilon, cell.rule) == (sites, epsilon, rule)
                ]
                shown = [
                    spread([100 * c.accuracy for c in of_rule if c.attack == attack])
                    for attack in ATTACKS
                ]
                triggered = spread([100 * c.success for c in of_rule if c.attack == "backdoor"])
                without = spread([100 * c.success for c in of_rule if c.attack == "none"])
                lines.append(f"| {rule} | {' | '.join(shown)} | {triggered} ({without}) |")
            lines.append("")
    return lines
