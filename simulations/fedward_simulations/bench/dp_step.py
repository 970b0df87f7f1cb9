"""Seconds of a step of DP-SGD, beside the same step without DP and beside Opacus."""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from opacus.optimizers.optimizer import _generate_noise

from fedward_shared.privacy.randomness import Randomness
from fedward_simulations.bench import dp_contenders as contenders
from fedward_simulations.bench.dp_contenders import FUSED, GHOST, HOOKS, LENGTHS, OURS, PEFT
from fedward_simulations.bench.rows import Row

REPEATS = 9
BOUNDS = {PEFT: 1.0, FUSED: 1.03, HOOKS: 0.909, GHOST: 0.588}
"""The last two: 1.10 and 1.7 times as fast."""
NORM_TOLERANCE = 1e-5
NUMBERS = 331_776
"""As many as adapters of rank 8 in every linear layer of MiniLM have."""


def run(_folder: Path) -> list[Row]:
    """Medians of steps in turns, for each model and length; then norms and noise."""
    torch.set_num_threads(contenders.THREADS)
    rows = []
    for subject, about in contenders.SUBJECTS.items():
        for length in LENGTHS:
            seconds = _steps(subject, length)
            rows += [
                Row(
                    f"{about.name}, {length} tokens", seconds[OURS], seconds[peer], peer, "s", bound
                )
                for peer, bound in BOUNDS.items()
            ]
    return [*rows, *(_norms(subject) for subject in contenders.SUBJECTS), _noise()]


def _steps(subject: str, length: int) -> dict[str, float]:
    batch = contenders.batch_of(length)
    steps = {
        name: contenders.contender(name, subject, len(batch[1])) for name in contenders.CONTENDERS
    }
    return _medians({name: partial(step, batch) for name, step in steps.items()})


def _medians(timed: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Each is run once to warm up; then all in turns, beginning with another each time."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    names = list(timed)
    for repeat in range(REPEATS + 1):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            timed[name]()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(of_it) for name, of_it in seconds.items()}


def _norms(subject: str) -> Row:
    """The largest difference of a record's norm from Opacus's, in parts of it."""
    name = f"{contenders.SUBJECTS[subject].name}: difference of norms"
    ours_B, theirs_B = (contenders.norms(subject, 128, by) for by in (OURS, HOOKS))
    largest = float(((ours_B - theirs_B).abs() / theirs_B).max())
    return Row(name, largest, NORM_TOLERANCE, f"{HOOKS}, tolerance", "relative", 1.0)


def _noise() -> Row:
    """Gaussian noise in four draws a number, which a step has in it."""
    ours, reference = Randomness.from_os(), torch.empty(NUMBERS)
    seconds = _medians(
        {
            OURS: lambda: ours.normal((NUMBERS,)),
            "peer": lambda: _generate_noise(1.0, reference, secure_mode=True),
        }
    )
    name = f"noise of {NUMBERS:,} numbers"
    return Row(name, seconds[OURS], seconds["peer"], "Opacus's secure mode, Mersenne Twister")
