"""A training in Prometheus's text format: quality, device and service.

Rates are left to Prometheus: of counters it computes them over any time, and across restarts.
docs/reference/metrics.md has every name.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    start_http_server,
)

from fedward_server.pretraining.doctor import Treatment
from fedward_server.pretraining.monitoring.device import utilisation
from fedward_server.pretraining.monitoring.figures import TREATMENTS, Machine, name_of, perplexity
from fedward_server.pretraining.reports import EvaluationReport, StepReport
from fedward_shared.errors import UsageError

PREFIX = "fedward_pretrain"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class Metrics:
    """Keeps them in `registry`. A watcher."""

    def __init__(self, machine: Machine, registry: CollectorRegistry) -> None:
        self._machine = machine
        self._quality = _Quality(registry)
        self._device = _Device(machine, registry)
        self._service = _Service(registry)

    def step(self, report: StepReport) -> None:
        """All that a step says."""
        self._quality.step(report)
        self._device.memory.set(report.memory)
        if (share := self._machine.mfu(report)) is not None:
            self._device.mfu.set(share)
        self._service.step(report)

    def evaluation(self, report: EvaluationReport) -> None:
        """The held-out rows of each source."""
        self._quality.evaluation(report)
        self._service.evaluations.observe(report.seconds)

    def treatment(self, step: int, treatment: Treatment) -> None:
        """Counted by kind."""
        del step
        self._quality.treatments.labels(name_of(treatment)).inc()

    def checkpoint(self, step: int, seconds: float) -> None:
        """Its step, and how long it took."""
        self._service.kept.set(step)
        self._service.checkpoints.observe(seconds)

    def notice(self, text: str) -> None:
        """Texts are no metrics."""


class _Quality:
    """What the training is good for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", text, labels, registry=registry)

        self.done = gauge("steps_done", "Optimiser steps that are done")
        self.planned = gauge("steps_planned", "Optimiser steps of the whole training")
        self.loss = gauge("loss_nats", "Mean cross entropy of a predicted token of the last step")
        self.perplexity = gauge("perplexity", "Perplexity of the last step")
        self.norm = gauge("gradient_norm", "Norm of the last step's gradient before clipping")
        self.rate = gauge("learning_rate", "AdamW's rate in the last step")
        self.held_out = gauge("held_out_loss_nats", "Cross entropy of held-out rows", "source")
        self.surprise = gauge("held_out_perplexity", "Perplexity of held-out rows", "source")
        self.right = gauge("held_out_accuracy_ratio", "Right tokens of held-out rows", "source")
        self.treatments = Counter(
            f"{PREFIX}_treatments", "What the doctor did", ["treatment"], registry=registry
        )
        for name in TREATMENTS:
            self.treatments.labels(name)

    def step(self, report: StepReport) -> None:
        self.done.set(report.step + 1)
        self.planned.set(report.steps)
        self.loss.set(report.loss)
        self.perplexity.set(perplexity(report.loss))
        self.norm.set(report.gradient_norm)
        self.rate.set(report.rate)

    def evaluation(self, report: EvaluationReport) -> None:
        for source, loss in report.losses.items():
            self.held_out.labels(source).set(loss)
            self.surprise.labels(source).set(perplexity(loss))
        for source, share in report.accuracies.items():
            self.right.labels(source).set(share)


class _Device:
    """What the first worker's device does."""

    def __init__(self, machine: Machine, registry: CollectorRegistry) -> None:
        busy = Gauge(
            f"{PREFIX}_device_utilisation_ratio",
            "Share of the device that is busy",
            registry=registry,
        )
        busy.set_function(utilisation(machine.device))
        self.memory = Gauge(
            f"{PREFIX}_memory_bytes", "The most that the device held", registry=registry
        )
        self.mfu = Gauge(
            f"{PREFIX}_mfu_ratio", "Model FLOP/s of the last step over the peak", registry=registry
        )
        self.mfu.set(float("nan"))


class _Service:
    """How fast it goes, and what it waits for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, registry=registry)

        def summary(name: str, text: str) -> Summary:
            return Summary(f"{PREFIX}_{name}", text, registry=registry)

        self.rows = counter("rows", "Rows trained on")
        self.tokens = counter("tokens", "Tokens that the model read")
        self.predicted = counter("predicted_tokens", "Tokens that the model predicted")
        self.waited = counter("loader_wait_seconds", "Time that steps waited for the loader")
        self.seconds = Histogram(
            f"{PREFIX}_step_seconds",
            "Time of an optimiser step",
            buckets=SECONDS,
            registry=registry,
        )
        self.evaluations = summary("evaluation_seconds", "Time of an evaluation")
        self.checkpoints = summary("checkpoint_seconds", "Time of a checkpoint")
        self.kept = Gauge(
            f"{PREFIX}_checkpoint_step", "Steps done in the newest checkpoint", registry=registry
        )
        self.last = Gauge(
            f"{PREFIX}_last_step_timestamp_seconds", "When the last step ended", registry=registry
        )

    def step(self, report: StepReport) -> None:
        self.rows.inc(report.rows)
        self.tokens.inc(report.tokens)
        self.predicted.inc(report.predicted)
        self.waited.inc(report.waited)
        self.seconds.observe(report.seconds)
        self.last.set(time.time())


@contextmanager
def served(registry: CollectorRegistry, host: str, port: int) -> Iterator[str]:
    """Answers at `/metrics` in a thread of its own; yields the URL.

    Raises UsageError if nothing can listen there.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(
            f"monitoring.prometheus_port: nothing can listen at {host}:{port}: {error.strerror}"
        ) from error
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
