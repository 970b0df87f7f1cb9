"""How a step's time grows with the number of experts, and with the length of rows.

Of each pair both take their steps in turn. The sparse model has as many parameters for a token as the
dense one beside it: two experts of a token are as wide together as its network. Rows of each length are
as many tokens together, and are of the same texts.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from fedward_server.pretraining import assembling
from fedward_server.pretraining.monitoring.watchers import Watchers
from fedward_server.pretraining.training.parallel import Workers
from fedward_simulations.bench import pretrain_texts
from fedward_simulations.bench.pretrain_speed import THREADS, stepped

MERGES = 4_000
DENSE = {
    "family": "llama",
    "hidden": 128,
    "layers": 4,
    "heads": 4,
    "kv_heads": 2,
    "intermediate": 512,
    "context": 256,
}
ACTIVE = 2
EXPERTS = (2, 4, 8, 16, 32)
WINDOW = 256
LENGTHS = (512, 1_024, 2_048, 4_096, 8_192)
TOKENS = 8_192
LONG = DENSE | {"layers": 2, "intermediate": 256}
STEPS = 3
"""Of each; the first is not timed."""


def experts(
    folder: Path, counts: tuple[int, ...] = EXPERTS, steps: int = STEPS
) -> dict[str, float]:
    """Seconds of a step of 2,048 tokens of the dense model, and of that of each number of experts."""
    models: dict[str, dict[str, Any]] = {"dense": DENSE}
    for count in counts:
        sparse = {"family": "mixtral", "intermediate": DENSE["intermediate"] // ACTIVE}  # type: ignore[operator]
        models[str(count)] = DENSE | sparse | {"experts": {"count": count, "active": ACTIVE}}
    return _in_turn(folder, models, dict.fromkeys(models, 8), steps)


def rows_of(folder: Path, *, length: int, steps: int = STEPS) -> dict[str, float]:
    """Seconds of a step of 8,192 tokens in rows of `length`: with a window, and with none."""
    models = {
        "window": LONG | {"family": "mistral", "window": WINDOW, "context": length},
        "full": LONG | {"context": length},
    }
    return _in_turn(folder, models, dict.fromkeys(models, TOKENS // length), steps)


def _in_turn(
    folder: Path, models: Mapping[str, dict[str, Any]], rows: Mapping[str, int], steps: int
) -> dict[str, float]:
    """The median seconds of a step of each model."""
    torch.set_num_threads(THREADS)
    pretrain_texts.write_texts(folder, 6_000)
    contenders = {name: _step(folder, name, model, rows[name]) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(steps):
        for name, step in contenders.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def _step(folder: Path, name: str, model: dict[str, Any], rows: int) -> Callable[[], float]:
    schedule = {"steps": 1_000, "batch": rows, "micro_batch": rows, "evaluate_every": 10**6}
    terms = pretrain_texts.content(model, schedule, MERGES)
    begun = pretrain_texts.begin(folder, name, terms)
    crew = Workers(begun.terms.parallel, [], begun.terms.schedule.clipping)
    place = folder / name / "kept"
    return stepped(assembling.assembled(begun.terms, place, begun.prepared, crew, Watchers([])))
