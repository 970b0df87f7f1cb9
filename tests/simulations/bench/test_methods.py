"""Methods side by side: run by run, and on from where it stopped."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import adapter_terms

from fedward_simulations.bench import method_tasks, methods
from fedward_simulations.bench.method_tasks import RATE_OF, TASKS, Task, judgements
from fedward_simulations.consortium import Consortium, Recipe, World
from fedward_simulations.data.notes import Note


@pytest.fixture
def small(world: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Task:
    """Two methods that share a rate, one ε, two seeds."""

    def made(method: str, rate: float, epsilon: float | None) -> Recipe:
        training = recipe.training.model_copy(update={"rounds": 1, "learning_rate": rate})
        return replace(recipe, adapter=adapter_terms(method), training=training)

    task = Task(
        name="small",
        title="Small",
        score="accuracy",
        higher_is_better=True,
        methods=("ffa-lora", "fedsvd"),
        rates={"ffa-lora": (1e-3, 0.5)},
        world=lambda seed, folder: replace(world, seed=seed, folder=folder),
        recipe=made,
    )
    monkeypatch.setattr(methods, "TASKS", (task,))
    monkeypatch.setattr(methods, "EPSILONS", (8.0,))
    monkeypatch.setattr(methods, "SEEDS", (0, 1))
    monkeypatch.setattr(methods, "PEER", "ffa-lora")
    return task


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the studies that were really run."""
    seen: list[str] = []
    real: Callable[..., object] = Consortium.run

    def watched(self: Consortium, name: str, *rest: object, **more: object) -> object:
        seen.append(name)
        return real(self, name, *rest, **more)

    monkeypatch.setattr(Consortium, "run", watched)
    return seen


def test_it_goes_on_where_it_stopped_and_says_the_same(
    small: Task, started: list[str], tmp_path: Path
) -> None:
    rows = methods.run(tmp_path)
    assert [row.name for row in rows] == ["small, ε = 8, fedsvd: loss"]
    assert len(started) == 2 + 2 * 2
    tables = (tmp_path / "tables.md").read_text("utf-8")
    del started[:]
    kept = tmp_path / "small.json"
    runs = json.loads(kept.read_text("utf-8"))
    (lost, *_) = [one for one in runs if one["run"]["method"] == "fedsvd"]
    kept.write_text(json.dumps([one for one in runs if one != lost]), "utf-8")
    (tmp_path / "tables.md").unlink()
    assert methods.run(tmp_path) == rows
    assert started == [methods.Run(**lost["run"]).name]
    assert (tmp_path / "tables.md").read_text("utf-8") == tables

    found = [one for one in runs if one["run"]["method"] == "fedsvd"]
    (own,) = [line for line in tables.splitlines() if line.startswith("| fedsvd |")]
    chosen = found[0]["run"]["rate"]
    tuned = {
        one["scores"]["loss"]: one["run"]["rate"]
        for one in runs
        if one["run"]["seed"] == methods.TUNING_SEED
    }
    assert chosen == tuned[min(tuned)]
    mean = sum(one["scores"]["accuracy"] for one in found) / 2
    assert own.startswith(f"| fedsvd | {chosen:g} | {mean:.3f} ± ")
    # B goes up, A and B down, and the head both ways.
    assert own.endswith(f"| {found[0]['bytes_up']:,} | {found[0]['bytes_down']:,} |")
    assert found[0]["bytes_up"] < found[0]["bytes_down"]


def test_every_method_has_a_rate_in_every_task_that_has_it() -> None:
    for task in TASKS:
        for method in task.methods:
            assert task.rates[RATE_OF.get(method, method)]
            for epsilon in (1.0, None):
                recipe = task.recipe(method, 1.0, epsilon)
                assert recipe.adapter.method == method
    icd = [method_tasks.TASKS[0].recipe("lora", 2.0, e) for e in (1.0, 8.0, None)]
    rates = [recipe.training.learning_rate for recipe in icd]
    assert rates[0] < rates[1] == rates[2]


def test_a_judgement_is_what_follows_the_last_dash_of_the_first_line() -> None:
    visits = [
        Note("", "Pressure: 151/91 — target < 140/90 — poorly controlled; go on.\nNext.", "p"),
        Note("", "Kidneys: monitored.", "q"),
        Note("", "HbA1c 8.9% — high.", "r"),
    ]
    assert judgements(visits, 5) == {
        "prompt": ["Pressure: 151/91 — target < 140/90 — ", "HbA1c 8.9% — "],
        "completion": ["poorly controlled; go on.", "high."],
    }
    assert len(judgements(visits, 1)["prompt"]) == 1
