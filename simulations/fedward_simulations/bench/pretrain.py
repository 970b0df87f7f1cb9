"""Pretraining: speed beside its peers, equal curves, kills, faults, and how its time grows.

Each part is measured once and kept, so that a stopped benchmark goes on after the last whole part. What
the doctor said to each fault goes to `faults.md`, for people.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fedward_shared.files import write_atomically
from fedward_simulations.bench import (
    kept,
    pretrain_faults,
    pretrain_runs,
    pretrain_speed,
    pretrain_texts,
)
from fedward_simulations.bench.pretrain_scaling import LENGTHS, TOKENS, WINDOW, experts, rows_of
from fedward_simulations.bench.pretrain_speed import (
    DECODER,
    ENCODER,
    MERGES,
    OURS,
    PLAIN,
    SCHEDULE,
    TRAINER,
    apart,
)
from fedward_simulations.bench.rows import Row

MODELS = {"decoder (Llama)": DECODER, "encoder (BERT)": ENCODER}
TEXTS = 6_000
ALLOWED = 1e-4
KILLS, KILLED_STEPS, WORKERS_STEPS = 20, 300, 60
FAULTS_PAGE = "faults.md"


def run(folder: Path) -> list[Row]:
    """Rows of each part."""
    return [
        *(row for name, model in MODELS.items() for row in _speed(folder, name, model)),
        *_workers(folder),
        *_kills(folder),
        *_experts(folder),
        *_lengths(folder),
        *_faults(folder),
    ]


def _speed(folder: Path, name: str, model: dict[str, Any]) -> Iterator[Row]:
    def measure(scratch: Path) -> Any:
        pretrain_texts.write_texts(scratch, TEXTS)
        return pretrain_speed.measure(scratch, model, SCHEDULE, MERGES)

    found = kept.once(folder / f"speed-{model['family']}.json", measure)
    tokens = found["tokens"]
    for peer in (TRAINER, PLAIN):
        for what, bound in (("the clock", 1.0), ("the processor", None)):
            about = f"{name}, one thread, a step of {tokens:,} tokens: {what}"
            yield Row(about, found[OURS][what], found[peer][what], peer, bound=bound)
        ours, theirs = (tokens / found[who]["the clock"] for who in (OURS, peer))
        yield Row(f"{name}: tokens a second, more is better", ours, theirs, peer, "")
        about = (
            f"{name}: largest difference of the loss from that of {peer}, {SCHEDULE['steps']} steps"
        )
        difference = apart(found[OURS]["losses"], found[peer]["losses"])
        yield Row(about, difference, ALLOWED, "allowed", "nats", 1.0)


def _workers(folder: Path) -> Iterator[Row]:
    def measure(scratch: Path) -> Any:
        pretrain_texts.write_texts(scratch, TEXTS)
        return pretrain_runs.workers(scratch, WORKERS_STEPS)

    found = kept.once(folder / "workers.json", measure)
    for strategy, difference in found["apart"].items():
        about = (
            f"two processes, {strategy}: largest difference of the loss from that of one process, "
            f"{found['steps']} steps, in which it falls from {found['first']:.2f} to {found['last']:.2f}"
        )
        yield Row(about, difference, ALLOWED, "allowed", "nats", 1.0)


def _kills(folder: Path) -> Iterator[Row]:
    def measure(scratch: Path) -> Any:
        pretrain_texts.write_texts(scratch, TEXTS)
        return pretrain_runs.kills(scratch, KILLS, KILLED_STEPS)

    found = kept.once(folder / "kills.json", measure)
    about = f"{found['kills']} × kill -9 in {KILLED_STEPS} steps, then a damaged newest checkpoint"
    yield Row(f"{about}: steps whose loss is another", found["differing"], unit="steps")
    yield Row(f"{about}: steps done again", found["done again"], unit="steps")
    said = "the diary names the damage and the older one is taken"
    yield Row(f"damaged newest checkpoint: {said}", int(found["fell back"]), unit="of 1")


def _experts(folder: Path) -> Iterator[Row]:
    found = kept.once(folder / "experts.json", experts)
    dense = found.pop("dense")
    for count, seconds in found.items():
        yield Row(f"{count} experts, 2 active: a step of 2,048 tokens", seconds, dense, "dense")


def _lengths(folder: Path) -> Iterator[Row]:
    for length in LENGTHS:
        found = kept.once(folder / f"length-{length}.json", partial(rows_of, length=length))
        about = f"rows of {length:,} tokens, window of {WINDOW}: a step of {TOKENS:,} tokens"
        yield Row(about, found["window"], found["full"], "full attention")


def _faults(folder: Path) -> Iterator[Row]:
    found = kept.once(folder / "faults.json", pretrain_faults.measure)
    write_atomically(folder / FAULTS_PAGE, pretrain_faults.told(found).encode())
    for fault, cost in found.items():
        about = f"{fault}, {cost['again']} steps done again: what it cost"
        yield Row(about, cost["seconds"])
