"""What a training tells whoever watches it."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from fedward_server.pretraining.doctor import Treatment


class StepReport(NamedTuple):
    """One optimiser step, counted from 0, over all workers.

    `loss` is the mean cross entropy in nats over the `predicted` tokens; `tokens` is all that the model
    read. `seconds` is the step's time on the first worker, of which it waited `waited` for the loader.
    `memory` is the most bytes that the first worker's device held, or that its process did on a CPU.
    """

    step: int
    steps: int
    loss: float
    gradient_norm: float
    rate: float
    rows: int
    tokens: int
    predicted: int
    micro_batch: int
    seconds: float
    waited: float
    memory: int


class EvaluationReport(NamedTuple):
    """Held-out rows after `step` optimiser steps: of each source the mean cross entropy in nats and the
    share of right tokens; and how many seconds it took."""

    step: int
    losses: Mapping[str, float]
    accuracies: Mapping[str, float]
    seconds: float


class Watcher(Protocol):
    """Is told of all that happens, on the first worker alone. It raises nothing."""

    def step(self, report: StepReport) -> None:
        """After each optimiser step."""

    def evaluation(self, report: EvaluationReport) -> None:
        """After each evaluation."""

    def treatment(self, step: int, treatment: Treatment) -> None:
        """When the doctor acted before `step`."""

    def checkpoint(self, step: int, seconds: float) -> None:
        """When what is there after `step` steps is kept."""

    def notice(self, text: str) -> None:
        """Something that people should know of."""
