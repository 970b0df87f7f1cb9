"""Reports of trainings that nobody ran: what watchers are told in tests."""

import math
from collections.abc import Iterable

from fedward_server.pretraining.doctor import GoBack
from fedward_server.pretraining.monitoring.figures import Machine
from fedward_server.pretraining.reports import EvaluationReport, StepReport, Watcher

MACHINE = Machine(workers=2, device="cpu", token_flops=6e6, peak_flops=1e11)


def step(number: int, loss: float | None = None, steps: int = 100) -> StepReport:
    """Step `number`, whose loss falls with it unless it is given."""
    return StepReport(
        step=number,
        steps=steps,
        loss=2 + 8 * math.exp(-number / 20) if loss is None else loss,
        gradient_norm=1 + 10 / (1 + number),
        rate=1e-4 * min(1.0, (number + 1) / 10),
        rows=8,
        tokens=1024,
        predicted=1000,
        micro_batch=4,
        seconds=0.5,
        waited=0.125,
        memory=123_000_000,
    )


def evaluation(after: int) -> EvaluationReport:
    """Of two sources after `after` steps."""
    loss = step(after).loss
    return EvaluationReport(
        after, {"english": loss + 0.1, "中文": loss + 0.4}, {"english": 0.5, "中文": 0.25}, 1.5
    )


def spike(watcher: Watcher, at: int, to: int) -> None:
    """Two steps of a loss that is far too high, and the way back."""
    for number in (at, at + 1):
        watcher.step(step(number, loss=14.0 + number - at))
    watcher.treatment(at + 2, GoBack(f"step {at + 1}: a spike <&>; back", to, 0.5, 10))


def tell(watcher: Watcher, numbers: Iterable[int], every: int = 10) -> None:
    """Steps, and after each `every` of them an evaluation and a checkpoint."""
    for number in numbers:
        watcher.step(step(number))
        if (number + 1) % every == 0:
            watcher.evaluation(evaluation(number + 1))
            watcher.checkpoint(number + 1, 0.25)
