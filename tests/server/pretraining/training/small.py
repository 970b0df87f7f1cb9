"""A training small enough to run in a test: a Llama of two layers, over sentences of a small grammar."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from fedward_server.pretraining.corpus.feeding import Fed
from fedward_server.pretraining.doctor import Doctor, DoctorTerms, Treatment
from fedward_server.pretraining.losses import Losses
from fedward_server.pretraining.reports import EvaluationReport, StepReport
from fedward_server.pretraining.training.checkpoints import Checkpoints
from fedward_server.pretraining.training.loop import Training
from fedward_server.pretraining.training.parallel import ParallelTerms, Workers, workers
from fedward_server.pretraining.training.schedule import ScheduleTerms

VOCABULARY, LENGTH = 50, 16
LAYERS = ["LlamaDecoderLayer"]


@dataclass
class Tokens:
    ids_BT: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids_BT)

    @property
    def tokens(self) -> int:
        return self.ids_BT.numel()

    @property
    def predicted(self) -> int:
        return self.ids_BT[:, 1:].numel()

    def cut(self, start: int, stop: int) -> "Tokens":
        return Tokens(self.ids_BT[start:stop])


def row(source: str, number: int) -> np.ndarray:
    """One source counts by ones, the other by threes, from a number that is drawn."""
    drawn = np.random.default_rng([ord(source[0]), number]).integers(0, VOCABULARY, 2)
    start, noise = drawn
    ids = (start + np.arange(LENGTH) * (1 if source == "ones" else 3)) % VOCABULARY
    ids[noise % LENGTH] = noise
    return ids


@dataclass
class SmallData:
    """Rows by their number; of every ten so many are of `threes` as its weight says."""

    workers: Workers
    batch: int

    def feed(self, state: Mapping[str, Any] | None) -> "SmallFeed":
        return SmallFeed(self, dict(state or {"taken": 0, "weights": {"ones": 0.9, "threes": 0.1}}))

    def held_out(self) -> Mapping[str, Tokens]:
        share = self.workers.share_of(8)
        numbers = range(10**6, 10**6 + 8)[share]
        return {
            source: Tokens(torch.tensor(np.stack([row(source, n) for n in numbers])))
            for source in ("ones", "threes")
        }

    def sample(self, count: int) -> Tokens:
        return Tokens(torch.tensor(np.stack([row("ones", n) for n in range(count)])))

    def reweighted(
        self, state: Mapping[str, Any], weights: Mapping[str, float]
    ) -> Mapping[str, Any]:
        return {**state, "weights": dict(weights)}

    def weights(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        return dict(state["weights"])


@dataclass
class SmallFeed:
    data: SmallData
    state: dict[str, Any]

    def next(self) -> Fed[Tokens]:
        taken = self.state["taken"]
        numbers = range(taken, taken + self.data.batch)[self.data.workers.share_of(self.data.batch)]
        share = self.state["weights"]["threes"]
        rows = [row("threes" if n * share % 1 + share >= 1 else "ones", n) for n in numbers]
        self.state = {**self.state, "taken": taken + self.data.batch}
        return Fed(Tokens(torch.tensor(np.stack(rows))), self.state, 0.0)

    def close(self) -> None:
        pass


def losses(model: Any, rows: Any) -> Losses:
    logits_BTV = model(input_ids=rows.ids_BT).logits[:, :-1]
    labels_BT = rows.ids_BT[:, 1:]
    summed = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), reduction="sum")
    return Losses(summed, 0.0, (logits_BTV.argmax(-1) == labels_BT).sum())


def llama(seed: int = 0, dropout: float = 0.0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
        attention_dropout=dropout,
    )
    return LlamaForCausalLM(config)


@dataclass
class Diary:
    """Remembers all that it is told."""

    steps: list[StepReport] = field(default_factory=list)
    evaluations: list[EvaluationReport] = field(default_factory=list)
    treatments: list[tuple[int, Treatment]] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def step(self, report: StepReport) -> None:
        self.steps.append(report)

    def evaluation(self, report: EvaluationReport) -> None:
        self.evaluations.append(report)

    def treatment(self, step: int, treatment: Treatment) -> None:
        self.treatments.append((step, treatment))

    def checkpoint(self, step: int, seconds: float) -> None:
        self.kept.append(step)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def curve(self) -> dict[int, float]:
        """The loss of each step, as it was taken last."""
        return {report.step: report.loss for report in self.steps}


SCHEDULE = ScheduleTerms(
    steps=12, batch=8, micro_batch=8, rate=0.01, warm_up=2, save_every=4, evaluate_every=6
)


def training(
    folder: Path,
    diary: Diary,
    *,
    parallel: ParallelTerms | None = None,
    doctor: DoctorTerms | None = None,
    dropout: float = 0.0,
    losses: Any = losses,
    data: Any = None,
    **schedule: Any,
) -> Training:
    terms = SCHEDULE.model_copy(update=schedule)
    crew = workers(parallel or ParallelTerms(precision="fp32"), LAYERS, terms.clipping)
    return Training(
        terms,
        llama(dropout=dropout),
        losses,
        data or SmallData(crew, terms.batch),
        crew,
        Checkpoints(folder, terms.keep, diary.notice),
        Doctor(doctor or DoctorTerms()),
        diary,
        seed=0,
    )


if __name__ == "__main__":
    import json
    import sys

    told = Diary()
    terms = ParallelTerms.model_validate_json(sys.argv[2])
    made = training(Path(sys.argv[1]), told, parallel=terms, **json.loads(sys.argv[3]))
    made.run()
    if os.environ.get("RANK", "0") == "0":
        Path(sys.argv[4]).write_text(json.dumps(told.curve()))
