"""The attacks are what they are called, and a rule withstands one that the mean follows."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import texts

from fedward_server.observer import Observer
from fedward_server.studies import Study
from fedward_simulations import federation
from fedward_simulations.bench import attacks
from fedward_simulations.bench.attacks import ATTACKS, AttackedSites, Cell
from fedward_simulations.consortium import Consortium, Recipe, World

LABELS = ("bone", "heart", "lung")
COLUMNS = {"text": ["a", "b", "c"], "label": ["bone", "heart", "lung"]}
UPDATE = {"w": torch.tensor([3.0, 4.0])}


def changed(attack: str) -> torch.Tensor:
    return ATTACKS[attack][1](UPDATE, torch.Generator().manual_seed(0))["w"]


def test_data_are_spoilt_as_named() -> None:
    flipped = ATTACKS["label-flip"][0](COLUMNS, LABELS)
    assert flipped["text"] == COLUMNS["text"]
    pairs = zip(flipped["label"], COLUMNS["label"], strict=True)
    assert all(a != b for a, b in pairs)
    poisoned = ATTACKS["backdoor"][0](COLUMNS, LABELS)
    assert poisoned == {
        "text": ["a", "b" + attacks.TRIGGER, "c"],
        "label": ["bone", "bone", "lung"],
    }


def test_updates_are_spoilt_as_named() -> None:
    assert torch.equal(changed("none"), UPDATE["w"])
    assert torch.equal(changed("label-flip"), UPDATE["w"])
    assert changed("sign-flip").tolist() == [-15.0, -20.0]
    assert changed("backdoor").tolist() == [15.0, 20.0]
    assert float(changed("noise").norm()) == pytest.approx(50.0)


def test_every_rule_meets_every_attack_once() -> None:
    found = [cell.key for cell in attacks.cells()]
    assert len(found) == len(set(found)) == attacks.SEEDS * 2 * 2 * len(ATTACKS) * 7


def test_what_was_measured_is_told_in_tables_and_rows() -> None:
    done = [replace(cell, accuracy=0.5, success=0.25) for cell in attacks.cells()]
    text = "\n".join(attacks.tables(done))
    assert "| krum | 50.0 ± 0.0 |" in text
    assert "3 of 10 hostile, ε = 8" in text
    rows = attacks.rows(done)
    assert len(rows) == 4 * len(ATTACKS) * 6
    assert {row.ours for row in rows if "backdoor" in row.name} == {25.0}
    assert attacks.rows([]) == []


def run(world: World, recipe: Recipe, hostile: int, terms: Mapping[str, object]) -> torch.Tensor:
    """How the adapter ended, from zero, with the last `hostile` sites sending theirs backwards."""
    name = f"study-{hostile}-{terms.get('rule', 'mean')}"
    consortium = Consortium(world, Observer())
    folder, settings = consortium.prepare(name, replace(recipe, aggregation=terms), None)
    sites = AttackedSites(tuple(settings), 0, hostile, ATTACKS["sign-flip"][1])
    federation.run_sites(folder, sites, Observer(), "in-process")
    study = Study(folder)
    study.read()
    return torch.cat([study.adapter[name].ravel() for name in sorted(study.adapter)])


def test_a_median_withstands_what_the_mean_follows(world: World, recipe: Recipe) -> None:
    four = replace(world, sites={name: texts(12, 50 * i) for i, name in enumerate("abcd")})
    honest = run(four, recipe, 0, {})
    mean = run(four, recipe, 1, {})
    median = run(four, recipe, 1, {"rule": "median", "hostile": 1})
    assert torch.dot(mean, honest) < 0 < torch.dot(median, honest)


def test_a_benchmark_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = list(attacks.cells())[:3]
    measured: list[Cell] = []

    def measure(folder: Path, cell: Cell) -> Cell:
        if len(measured) == 2:
            raise KeyboardInterrupt
        folder.mkdir()
        measured.append(replace(cell, accuracy=0.5, success=0.0))
        return measured[-1]

    monkeypatch.setattr(attacks, "cells", lambda: iter(wanted))
    monkeypatch.setattr(attacks, "_measure", measure)
    with pytest.raises(KeyboardInterrupt):
        attacks.run(tmp_path)
    (done,) = measured[1:]
    measured.clear()
    attacks.run(tmp_path)
    assert [cell.key for cell in measured] == [wanted[2].key]
    assert not math.isnan(done.accuracy)
