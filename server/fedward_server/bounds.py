"""How long an honest update can be: the norm's bound, where a draft names none."""

import math

from fedward_shared import names
from fedward_shared.charter import Charter
from fedward_shared.tensors import Schema

DEVIATIONS = 6.0
"""Beyond so many, chance does not go: 10⁻⁹, and less for a norm of many numbers."""

MISCOUNT = 2.0
"""A site may hold so many times the privacy units that the charter declares for it."""

ADAM_LEAP = math.sqrt(10.0)
"""The furthest that one step of Adam (0.9, 0.999) takes a number, in learning rates."""

ROUNDED_UP = 1.05
"""Two digits of so much are never less."""

LEAST, MOST = 1e-6, 1e6

GRADIENT = 10.0
"""Nobody clips without DP; averaged gradients that are longer than this are no training that works."""

DRIFT = 10.0
"""How far adaptive clipping may go up from where it begins."""


def update_norm(charter: Charter, initial: Schema) -> float | None:
    """A bound for the norm of every site's update of one round, or None where none can be derived.

    `initial`: the schema of all tensors that the study starts with. DP-SGD moves head and adapters by
    sums of clipped gradients and their noise, each through the optimiser; an update is as long as both.
    What HetLoRA drops is as long as it had grown.
    """
    method = charter.adapter.method
    if method == "hetlora":
        return None
    turns = range(len(names.METHODS[method].trains) + 1)
    sizes = {True: 0, False: 0}
    for name, shape in initial.items():
        if any(names.trains(name, method, turn) for turn in turns):
            sizes[name.startswith(names.HEAD_MARK)] += math.prod(shape)
    terms = charter.training
    rates = {True: terms.head_learning_rate or terms.learning_rate, False: terms.learning_rate}
    bound = math.hypot(*(_part(charter, rates[head], size) for head, size in sizes.items() if size))
    return max(LEAST, min(MOST, float(f"{ROUNDED_UP * bound:.1e}")))


def _part(charter: Charter, rate: float, size: int) -> float:
    terms, privacy = charter.training, charter.privacy
    if terms.optimizer == "adam":
        return rate * terms.local_steps * ADAM_LEAP * math.sqrt(size)
    expected = privacy.sampling_rate * min(p.records for p in charter.participants)
    sampled = MISCOUNT + DEVIATIONS * math.sqrt(MISCOUNT / expected)
    length, noise = GRADIENT, 0.0
    if privacy.mechanism == "dp-sgd":
        length = privacy.clipping_norm * (DRIFT if privacy.adaptive_clipping else 1.0)
        deviation = privacy.noise_multiplier * length / expected
        noise = math.sqrt(terms.local_steps) * deviation * (math.sqrt(size) + DEVIATIONS)
    return rate * (terms.local_steps * length * sampled + noise) / (1 - terms.momentum)
