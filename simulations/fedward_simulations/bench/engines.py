"""The two engines of a simulation: seconds of the same small study, and whether they agree."""

import statistics
import time
from pathlib import Path

from fedward_server.observer import Observer
from fedward_shared import tensors
from fedward_shared.charter_terms import AdapterTerms, TaskTerms, TrainingTerms
from fedward_shared.tasks.base import Columns
from fedward_simulations.bench.rows import Row
from fedward_simulations.consortium import Consortium, Recipe, World
from fedward_simulations.data import base_models, icd10
from fedward_simulations.engines import ENGINES

RUNS = 3
SITES = 4
RECORDS = 100


def run(folder: Path) -> list[Row]:
    """Medians over `RUNS` interleaved runs of both engines.

    Raises AssertionError if they do not give the same adapter, bit for bit.
    """
    model = base_models.tiny_bert(folder / "model", 0)
    split = icd10.load(0)
    sites = {
        f"site-{n}": _columns(split.train[n :: len(split.train) // RECORDS]) for n in range(SITES)
    }
    recipe = Recipe(
        AdapterTerms(
            method="ffa-lora", rank=2, alpha=2.0, target_modules=("query", "value"), layers=(1,)
        ),
        TrainingTerms(rounds=2, local_steps=2, learning_rate=1.0),
        sampling_rate=0.5,
    )
    seconds: dict[str, list[float]] = {name: [] for name in ENGINES}
    digests = set()
    for number in range(RUNS):
        for name, engine in ENGINES.items():
            world = World(
                folder=folder / f"{name}-{number}",
                base_model=model,
                task=TaskTerms(
                    kind="text-classification", labels=tuple(split.labels), max_tokens=32
                ),
                sites=sites,
                evaluation=_columns(split.test[::40]),
                public=_columns(split.tuning[::27]),
                purpose="Compare the engines",
                delta=1e-5,
                seed=0,
                threads=1,
                engine=engine,
            )
            started = time.perf_counter()
            outcome = Consortium(world, Observer()).run("engines", recipe, 8.0)
            seconds[name].append(time.perf_counter() - started)
            digests.add(tensors.digest(outcome.study.adapter))
    if len(digests) != 1:
        raise AssertionError("the engines give different adapters")
    ours, peer = (statistics.median(seconds[name]) for name in ("in-process", "flower"))
    return [Row("a small study, start to end", ours, peer, "Flower's engine (Ray)")]


def _columns(records: list[icd10.Record]) -> Columns:
    return {"text": [r.text for r in records], "label": [r.label for r in records]}
