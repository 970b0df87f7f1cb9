"""The loop over optimiser steps.

    rows → micro-batches → sum of losses / tokens predicted by all workers → clipped → AdamW

A step is a function of the checkpoint before it and of its number, whatever the workers and however many
rows fit at once: its loss is the mean over the tokens that all workers predict in it, its rows and what
is masked in them come from the stream. What a layer draws (dropout) is seeded by step and micro-batch.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import torch

from fedward_server.pretraining.corpus.feeding import Fed, Stalled
from fedward_server.pretraining.doctor import (
    Doctor,
    GiveUp,
    GoBack,
    NewLoader,
    Reweight,
    SaveMemory,
    Treatment,
)
from fedward_server.pretraining.losses import Losses
from fedward_server.pretraining.reports import EvaluationReport, StepReport, Watcher
from fedward_server.pretraining.training.checkpoints import Checkpoints
from fedward_server.pretraining.training.microbatch import free, most_that_fit, needed
from fedward_server.pretraining.training.parallel import Workers
from fedward_server.pretraining.training.schedule import Course, ScheduleTerms
from fedward_shared.errors import Interrupted, StateError


class GivenUp(StateError):
    """The doctor gave a training up; its message says why."""


class Rows(Protocol):
    """This worker's rows of one step, ready for the model."""

    def __len__(self) -> int:
        """How many."""

    @property
    def tokens(self) -> int:
        """How many tokens the model reads of them."""

    @property
    def predicted(self) -> int:
        """How many tokens of them are predicted."""

    def cut(self, start: int, stop: int) -> "Rows":
        """Some of them."""


class Feed(Protocol):
    """Builds the rows of the steps to come while the model computes."""

    def next(self) -> Fed[Any]:
        """Those of the next step. Raises Stalled, and what the loader raised."""

    def close(self) -> None:
        """Ends the loader."""


class Data(Protocol):
    """Where rows come from."""

    def feed(self, state: Mapping[str, Any] | None) -> Feed:
        """From the beginning, or from where a stream was."""

    def held_out(self) -> Mapping[str, Rows]:
        """Of each source the rows that no step sees: this worker's part, as many as any other's."""

    def sample(self, count: int) -> Rows:
        """So many rows like those of a step, to measure what they take."""

    def reweighted(
        self, state: Mapping[str, Any], weights: Mapping[str, float]
    ) -> Mapping[str, Any]:
        """The state of the stream with other shares of the sources from there on."""

    def weights(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        """The shares of the sources in it."""


class Training:
    """Of one model on this worker. `run` returns when its steps are done."""

    def __init__(
        self,
        terms: ScheduleTerms,
        model: torch.nn.Module,
        losses: Callable[[Any, Any], Losses],
        data: Data,
        workers: Workers,
        checkpoints: Checkpoints,
        doctor: Doctor,
        watcher: Watcher,
        seed: int,
        recompute: bool = False,
        after_step: Callable[[], object] = lambda: None,
        after_evaluation: Callable[[EvaluationReport], object] = lambda _: None,
    ) -> None:
        self._terms, self._losses, self._data = terms, losses, data
        self._workers, self._checkpoints, self._doctor = workers, checkpoints, doctor
        self._watcher, self._seed, self._after_step = watcher, seed, after_step
        self._after_evaluation = after_evaluation
        share = workers.share_of(terms.batch)
        self._rows: int = share.stop - share.start
        self._micro_batch = self._rows
        self._model, self._optimizer = workers.prepared(model, _adamw(model, terms))
        self._kept = workers.kept(self._model, self._optimizer)
        self._recompute = False
        if recompute:
            self._compute_again()
        self.step = 0
        self._stopping = False
        self._course = Course()
        self._stream: Mapping[str, Any] | None = None
        self._feed: Feed | None = None

    def run(self) -> None:
        """From the newest whole checkpoint, or the beginning, to the last step.

        Raises GivenUp if the doctor gives up, StateError if a checkpoint cannot be written, or if there
        are some and none is whole; Interrupted once it was asked to stop; what `after_evaluation`
        raises.
        """
        self._checkpoints.remove_parts()
        if not self._restore(None):
            self._checkpoints.check_none()
            self._save()
        self._micro_batch = self._chosen()
        try:
            while self.step < self._terms.steps:
                if any(self._workers.total(float(self._stopping))):
                    self._save()
                    raise Interrupted(
                        f"stopped after {self.step} of {self._terms.steps} steps, which are kept; "
                        "the same command goes on"
                    )
                self._one()
        finally:
            self._close()

    def stop(self) -> None:
        """Has all workers end after the step that they are in, with a checkpoint."""
        self._stopping = True

    @property
    def model(self) -> Any:
        """What was trained, without what its strategy put around it."""
        return self._workers.bare(self._model)

    def evaluate(self) -> EvaluationReport:
        """The held-out rows of each source."""
        start = time.monotonic()
        losses, accuracies = {}, {}
        self._model.eval()
        with torch.no_grad():
            for name, rows in self._data.held_out().items():
                summed = right = 0.0
                for first in range(0, len(rows), self._micro_batch):
                    with self._workers.computing():
                        part = rows.cut(first, min(first + self._micro_batch, len(rows)))
                        found = self._losses(self._model, part)
                    summed, right = summed + float(found.summed), right + float(found.right)
                summed, right, count = self._workers.total(summed, right, rows.predicted)
                losses[name], accuracies[name] = summed / max(1, count), right / max(1, count)
        self._model.train()
        return EvaluationReport(self.step, losses, accuracies, time.monotonic() - start)

    def _one(self) -> None:
        """One step, or what the doctor has done in its place."""
        treatment: Treatment | None
        try:
            report = self._advance()
        except Stalled as stalled:
            self._treat(self._doctor.stalled(self.step, stalled.seconds))
            return
        except RuntimeError as error:
            if self._workers.count > 1 or not _out_of_memory(error):
                raise  # of several, the others wait for this one: all begin again
            self._workers.forget(self._model, self._optimizer)
            treatment = self._doctor.out_of_memory(self.step, self._recompute, self._micro_batch)
            with suppress(AttributeError):
                error.__traceback__ = None  # it holds the activations that did not fit
            self._reopen()
            self._treat(treatment)
            return
        self._tell(lambda: self._watcher.step(report))
        treatment = self._doctor.step(self.step, report.loss, report.gradient_norm)
        self.step += 1
        if treatment is not None:
            self._treat(treatment)
        else:
            self._at_intervals()

    def _at_intervals(self) -> None:
        last = self.step == self._terms.steps
        if last or self.step % self._terms.evaluate_every == 0:
            report = self.evaluate()
            self._tell(lambda: self._watcher.evaluation(report))
            self._after_evaluation(report)
            assert self._stream is not None
            weights = self._data.weights(self._stream)
            if treatment := self._doctor.evaluated(self.step, report.losses, weights):
                self._treat(treatment)
        if last or self.step % self._terms.save_every == 0:
            self._save()

    def _advance(self) -> StepReport:
        start = time.monotonic()
        fed = self._fed()
        own, step = fed.rows, self.step
        predicted, tokens, rows = self._workers.total(own.predicted, own.tokens, len(own))
        rate = self._course.rate(self._terms, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        summed = 0.0
        for first in range(0, len(own), self._micro_batch):
            stop = min(first + self._micro_batch, len(own))
            torch.manual_seed(_seed(self._seed, step, self._workers.rank, first))
            with self._workers.accumulating(self._model, last=stop == len(own)):
                with self._workers.computing():
                    found = self._losses(self._model, own.cut(first, stop))
                auxiliary = found.auxiliary * ((stop - first) / rows)
                self._workers.backward(self._model, found.summed / predicted + auxiliary)
            summed += float(found.summed.detach())
        (summed,) = self._workers.total(summed)
        norm = self._workers.updated(self._model, self._optimizer)
        self._after_step()
        self._stream = fed.state
        return StepReport(
            step=step,
            steps=self._terms.steps,
            loss=summed / predicted,
            gradient_norm=norm,
            rate=rate,
            rows=int(rows),
            tokens=int(tokens),
            predicted=int(predicted),
            micro_batch=self._micro_batch,
            seconds=time.monotonic() - start,
            waited=fed.waited,
            memory=self._workers.memory(),
        )

    def _chosen(self) -> int:
        """How many rows go through the model at once: as the terms say, or the most that fit."""
        asked = self._terms.micro_batch
        if asked != "most":
            return min(asked, self._rows)

        def passed(count: int) -> None:
            with self._workers.computing():
                found = self._losses(self._model, self._data.sample(count))
            self._workers.backward(self._model, found.summed + found.auxiliary)
            self._workers.forget(self._model, self._optimizer)

        device = self._workers.device
        passed(1)  # what is made once is there before it is measured
        fit = most_that_fit(needed(passed, device), free(device), self._rows)
        chosen: int = self._workers.least(fit)
        return chosen

    def _treat(self, treatment: Treatment) -> None:
        self._tell(lambda: self._watcher.treatment(self.step, treatment))
        match treatment:
            case GoBack(to=to, factor=factor, warm_up=warm_up):
                stream, course = self._stream, self._course
                if not self._restore(to):
                    raise StateError(
                        f"{treatment.reason}: but no checkpoint of step {to} or earlier is whole"
                    )
                self._stream = stream  # other rows come: those that were seen are not seen again
                self._course = course.slower(self.step, factor, warm_up)  # and slower each time
                self._reopen()
            case SaveMemory(recompute=recompute, micro_batch=micro_batch):
                self._micro_batch = micro_batch
                if recompute and not self._recompute:
                    self._compute_again()
            case Reweight(weights=weights):
                assert self._stream is not None
                self._stream = self._data.reweighted(self._stream, weights)
                self._reopen()
            case NewLoader():
                self._reopen()
            case GiveUp(reason=reason):
                raise GivenUp(
                    f"{reason}; the checkpoints of steps {self._checkpoints.steps()} are kept"
                )

    def _compute_again(self) -> None:
        self._recompute = True
        self.model.activation_checkpointing_enable({"use_reentrant": False})

    def _fed(self) -> Fed[Any]:
        if self._feed is None:
            self._feed = self._data.feed(self._stream)
        return self._feed.next()

    def _close(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    _reopen = _close

    def _save(self) -> None:
        start = time.monotonic()
        state = {
            "course": self._course.model_dump(),
            "doctor": self._doctor.state(),
            "stream": self._stream,
        }
        self._checkpoints.write(self.step, self._kept.tensors(), state)
        self._tell(lambda: self._watcher.checkpoint(self.step, time.monotonic() - start))

    def _restore(self, before: int | None) -> bool:
        tensors = self._kept.tensors()
        found = self._checkpoints.read(tensors, before)
        if found is None:
            return False
        self._kept.put_back(tensors)
        self.step, state = found
        self._stream = state["stream"]
        self._course = Course.model_validate(state["course"])
        self._doctor.restore(state["doctor"])
        self._reopen()
        return True

    def _tell(self, act: Callable[[], None]) -> None:
        if self._workers.first:
            act()


def _out_of_memory(error: RuntimeError) -> bool:
    """A GPU has a class of error for it, the memory of a CPU a text."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _seed(*parts: int) -> int:
    """Of what the layers draw for some rows (dropout, the noise of a router)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def _adamw(model: torch.nn.Module, terms: ScheduleTerms) -> torch.optim.AdamW:
    """Weights decay; biases and the scales of norms, which are vectors, do not."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": terms.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=terms.rate, betas=terms.betas, fused=True)
