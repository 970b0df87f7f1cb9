"""A training in TensorBoard's files, which are protobuf and hold numbers alone."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from fedward_server.pretraining.doctor import Treatment
from fedward_server.pretraining.monitoring.figures import (
    Machine,
    name_of,
    perplexity,
    tokens_per_second,
)
from fedward_server.pretraining.reports import EvaluationReport, StepReport
from fedward_shared.errors import MissingExtra

FLUSH_SECONDS = 30


class TensorBoard:
    """Writes below `folder`. A watcher. Raises MissingExtra if tensorboard is not installed."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra(
                "monitoring.tensorboard: tensorboard is not installed: "
                "pip install 'fedward-server[tensorboard]', or leave it out"
            ) from error
        self._make: Any = SummaryWriter
        self._folder, self._machine = str(folder), machine
        self._writer: Any = None
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            with suppress(OSError):  # of a disk that is full, of which it was told before
                self._writer.close()

    def step(self, report: StepReport) -> None:
        """Scalars by step; those of a course that was left are taken back."""
        if self._writer is None or report.step < self._next:
            self._begin(report.step)
        self._next = report.step + 1
        found = {
            "training/loss": report.loss,
            "training/perplexity": perplexity(report.loss),
            "training/gradient_norm": report.gradient_norm,
            "training/rate": report.rate,
            "device/tokens_per_second": tokens_per_second(report),
            "device/memory_bytes": report.memory,
            "device/mfu": self._machine.mfu(report),
            "service/step_seconds": report.seconds,
            "service/waited_seconds": report.waited,
        }
        self._add(found, report.step)

    def evaluation(self, report: EvaluationReport) -> None:
        """At the last step that it follows."""
        for source, loss in report.losses.items():
            found = {
                f"held_out_loss/{source}": loss,
                f"held_out_perplexity/{source}": perplexity(loss),
                f"held_out_accuracy/{source}": report.accuracies.get(source),
            }
            self._add(found, report.step - 1)

    def treatment(self, step: int, treatment: Treatment) -> None:
        """A text."""
        if self._writer is not None:
            self._writer.add_text(f"doctor/{name_of(treatment)}", treatment.reason, step)

    def checkpoint(self, step: int, seconds: float) -> None:
        """How long it took."""
        self._add({"service/checkpoint_seconds": seconds}, step - 1)

    def notice(self, text: str) -> None:
        """Is in the diary."""

    def _begin(self, step: int) -> None:
        self.__exit__()
        self._writer = self._make(self._folder, purge_step=step, flush_secs=FLUSH_SECONDS)

    def _add(self, found: dict[str, float | None], step: int) -> None:
        if self._writer is None:
            return
        for name, value in found.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
