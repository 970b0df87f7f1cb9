"""What is computed of the reports of a training, in one way for all that show it."""

import math
from typing import NamedTuple

from fedward_server.pretraining.doctor import (
    GiveUp,
    GoBack,
    NewLoader,
    Reweight,
    SaveMemory,
    Treatment,
)
from fedward_server.pretraining.reports import StepReport

TREATMENTS: dict[str, type[Treatment]] = {
    "go_back": GoBack,
    "save_memory": SaveMemory,
    "reweight": Reweight,
    "new_loader": NewLoader,
    "give_up": GiveUp,
}
"""Each by the name that it has in the diary and in metrics."""

_NAMES = {kind: name for name, kind in TREATMENTS.items()}
_LARGEST_EXPONENT = 709.0


class Machine(NamedTuple):
    """What a training runs on: `workers` processes, of which the first one's `device` is cpu or cuda:N.

    `token_flops` is what one token costs, forward and backward, in FLOPs; `peak_flops` is what the
    devices of all workers can do together, in FLOP/s, or None where nobody knows it (most CPUs).
    """

    workers: int
    device: str
    token_flops: float
    peak_flops: float | None

    def mfu(self, report: StepReport) -> float | None:
        """Model FLOPs utilisation (Chowdhery et al. 2022, appendix B) of one step, of 1."""
        if self.peak_flops is None:
            return None
        return self.token_flops * tokens_per_second(report) / self.peak_flops


def tokens_per_second(report: StepReport) -> float:
    """That the model read in one step, of all workers."""
    return report.tokens / report.seconds if report.seconds > 0 else math.inf


def perplexity(loss: float) -> float:
    """Of a mean cross entropy in nats per token; infinite beyond what a float holds."""
    return math.inf if loss > _LARGEST_EXPONENT else math.exp(loss)


def name_of(treatment: Treatment) -> str:
    """Its name in the diary and in metrics."""
    return _NAMES[type(treatment)]
