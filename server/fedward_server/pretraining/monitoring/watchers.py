"""Many watchers as one, of which none can end a training."""

from collections.abc import Callable, Sequence

import structlog

from fedward_server.pretraining.doctor import Treatment
from fedward_server.pretraining.reports import EvaluationReport, StepReport, Watcher

log = structlog.get_logger()


class Watchers:
    """Tells each of `watchers`, in order. One that raises is told nothing more, and the others that."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)

    def step(self, report: StepReport) -> None:
        """After each optimiser step."""
        self._each(lambda watcher: watcher.step(report))

    def evaluation(self, report: EvaluationReport) -> None:
        """After each evaluation."""
        self._each(lambda watcher: watcher.evaluation(report))

    def treatment(self, step: int, treatment: Treatment) -> None:
        """When the doctor acted before `step`."""
        self._each(lambda watcher: watcher.treatment(step, treatment))

    def checkpoint(self, step: int, seconds: float) -> None:
        """When what is there after `step` steps is kept."""
        self._each(lambda watcher: watcher.checkpoint(step, seconds))

    def notice(self, text: str) -> None:
        """Something that people should know of."""
        self._each(lambda watcher: watcher.notice(text))

    def _each(self, tell: Callable[[Watcher], None]) -> None:
        dropped = []
        for watcher in list(self._watchers):
            try:
                tell(watcher)
            except Exception as error:
                self._watchers.remove(watcher)
                dropped.append(f"{type(watcher).__name__} is told nothing more: {error}")
        for text in dropped:
            if not self._watchers:
                log.warning("nobody watches the training any more", reason=text)
            self.notice(text)
