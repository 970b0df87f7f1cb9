"""A step of pretraining beside the same step by transformers' `Trainer` and by a plain loop of PyTorch.

All three have the same initial model, rows, AdamW and rates, and take their steps in turn, one each, so
that whatever else the machine does falls on all alike. The peers have transformers' own packed rows:
`position_ids` that begin anew in each document (a decoder), a mask of four dimensions (an encoder), and
`labels`, of which the model makes its loss. Their rows are ready before the first step; ours are built
while it trains. All have PyTorch's fused AdamW, the peers' fastest.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerCallback, TrainingArguments

from fedward_server.pretraining import assembling
from fedward_server.pretraining.corpus.objectives import IGNORED, Batch
from fedward_server.pretraining.monitoring.watchers import Watchers
from fedward_server.pretraining.packed import packed_inputs
from fedward_server.pretraining.reports import StepReport
from fedward_server.pretraining.training.loop import Training
from fedward_server.pretraining.training.parallel import Workers
from fedward_server.pretraining.training.schedule import planned
from fedward_simulations.bench import pretrain_texts
from fedward_simulations.bench.pretrain_texts import Begun

THREADS = 1
"""Of a machine that others use too: two that wait for each other would measure them."""
WARM = 6
"""Steps that are not timed."""

SIZES = {"hidden": 256, "layers": 4, "heads": 4, "intermediate": 688, "context": 256}
DECODER = SIZES | {"family": "llama", "kv_heads": 4}
ENCODER = SIZES | {"family": "bert", "intermediate": 1024}
MERGES = 7_600
SCHEDULE = {"steps": 30, "batch": 4, "micro_batch": 4, "rate": 1e-3, "warm_up": 10}
OURS, TRAINER, PLAIN = "ours", "transformers' Trainer", "a plain loop"


def measure(folder: Path, model: dict[str, Any], schedule: dict[str, Any], merges: int) -> Any:
    """Of each contender the median seconds of a step, by the clock and of the processor, and the loss
    of each step; and how many tokens a step has."""
    torch.set_num_threads(THREADS)
    terms = pretrain_texts.content(model, schedule, merges)
    begun = pretrain_texts.begin(folder, model["family"], terms)
    crew = Workers(begun.terms.parallel, [], begun.terms.schedule.clipping)
    new = assembling.new_model(begun.terms, begun.prepared)
    rows = list(_rows(begun, crew))
    contenders = {OURS: _ours(begun, crew, folder), PLAIN: _plain(begun, copy.deepcopy(new), rows)}
    found = {name: Timed() for name in (*contenders, TRAINER)}

    def others() -> None:
        for name, step in contenders.items():
            found[name].start()
            found[name].losses.append(step())
            found[name].stop()

    _trainer(begun, copy.deepcopy(new), rows, folder / "trainer", others, found[TRAINER])
    return {name: timed.as_json() for name, timed in found.items()} | {"tokens": rows[0].tokens}


class Timed:
    """Of one contender the seconds of each step, and its losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._clock: list[float] = []
        self._processor: list[float] = []
        self._started = (0.0, 0.0)

    def start(self) -> None:
        """A step begins."""
        self._started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """It is done."""
        self._clock.append(time.perf_counter() - self._started[0])
        self._processor.append(time.process_time() - self._started[1])

    def as_json(self) -> dict[str, Any]:
        """Medians of the steps that count, and all losses."""
        clock, processor = (statistics.median(s[WARM:]) for s in (self._clock, self._processor))
        return {"the clock": clock, "the processor": processor, "losses": self.losses}


def apart(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest difference between two curves of as many steps."""
    return max(abs(one - other) for one, other in zip(ours, theirs, strict=True))


def stepped(training: Training) -> Callable[[], float]:
    """Takes one step of a training and returns its loss; what `Training.run` does, a step at a time."""
    losses: list[float] = []
    training._watcher = _Losses(losses)

    def step() -> float:
        training._one()
        return losses[-1]

    return step


class _Losses(Watchers):
    def __init__(self, losses: list[float]) -> None:
        super().__init__([])
        self._losses = losses

    def step(self, report: StepReport) -> None:
        self._losses.append(report.loss)


def _rows(begun: Begun, crew: Workers) -> Iterator[Batch]:
    feed = assembling.data(begun.terms, begun.prepared, crew).feed(None)
    for _ in range(begun.terms.schedule.steps):
        yield feed.next().rows
    feed.close()


def _ours(begun: Begun, crew: Workers, folder: Path) -> Callable[[], float]:
    # Nobody else evaluates or keeps anything either.
    never = {"evaluate_every": 10**6, "save_every": 10**6, "steps": begun.terms.schedule.steps}
    schedule = begun.terms.schedule.model_copy(update=never)
    terms = begun.terms.model_copy(update={"schedule": schedule})
    training = assembling.assembled(terms, folder / "ours", begun.prepared, crew, Watchers([]))
    return stepped(training)


def _inputs(begun: Begun, batch: Batch) -> dict[str, Any]:
    labels = batch.labels
    if begun.terms.model.objective == "causal":  # the model shifts them itself
        labels = torch.where(batch.positions_BT > 0, batch.tokens_BT, IGNORED)
    documents = packed_inputs(begun.terms.model, batch.positions_BT, batch.documents_BT)
    return {"input_ids": batch.tokens_BT, "labels": labels, **documents}


def _optimizer(begun: Begun, model: Any) -> tuple[torch.optim.AdamW, LambdaLR]:
    terms = begun.terms.schedule
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices},
        {"params": vectors, "weight_decay": 0.0},
    ]
    decay = terms.weight_decay
    made = torch.optim.AdamW(groups, terms.rate, terms.betas, weight_decay=decay, fused=True)
    return made, LambdaLR(made, lambda step: planned(terms, step) / terms.rate)


def _plain(begun: Begun, model: Any, rows: list[Batch]) -> Callable[[], float]:
    optimizer, schedule = _optimizer(begun, model)
    batches = iter([_inputs(begun, batch) for batch in rows])

    def step() -> float:
        loss = model(**next(batches)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), begun.terms.schedule.clipping)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


class _InTurn(TrainerCallback):  # type: ignore[misc]
    """Times the Trainer from the end of the others' step to the end of its own."""

    def __init__(self, others: Callable[[], None], timed: Timed) -> None:
        self._others, self._timed = others, timed

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self._timed.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._timed.stop()
        self._others()
        self._timed.start()


class _Trainer(Trainer):  # type: ignore[misc]
    """Goes through its rows in their order, with losses that nobody rounds."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(train_dataset)

    def compute_loss(self, *arguments: Any, **settings: Any) -> Any:
        found = super().compute_loss(*arguments, **settings)
        self.exact.append(found.detach())
        return found


def _trainer(
    begun: Begun,
    model: Any,
    rows: list[Batch],
    folder: Path,
    others: Callable[[], None],
    timed: Timed,
) -> None:
    terms = begun.terms.schedule
    batches = [_inputs(begun, batch) for batch in rows]
    singles: list[dict[str, Any]] = []
    for batch in batches:
        tensors = {name: value for name, value in batch.items() if torch.is_tensor(value)}
        singles += [
            {name: value[row] for name, value in tensors.items()} for row in range(terms.batch)
        ]
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        max_steps=terms.steps,
        per_device_train_batch_size=terms.batch,
        max_grad_norm=terms.clipping,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=singles,
        optimizers=_optimizer(begun, model),
        callbacks=[_InTurn(others, timed)],
    )
    trainer.exact = []
    trainer.train()
    timed.losses.extend(float(loss) for loss in trainer.exact)
