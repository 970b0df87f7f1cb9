"""A study rehearsed on invented records before anybody approves it: what it takes here.

The site's own code trains on as many records as the charter declares for it, of the charter's schema and
of random words: no file of records is opened, no ledger is touched, nothing leaves. One round of each
kind is run and the whole study's time follows from them. Where the charter protects patients or
customers, each has one record: time grows with the records that they really have.
"""

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from fedward_client import egress, policy
from fedward_client.site import Site
from fedward_client.training.trainer import train
from fedward_shared import adapters, formats, pretrained, tasks, tensors
from fedward_shared import sketch as sketches
from fedward_shared.annotation.documents import Entity, entities_json
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import TaskTerms
from fedward_shared.privacy import accountant
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.privacy.unit import Unit
from fedward_shared.tasks.base import Columns

WORDS = (3, 40)
"""Shortest and longest invented text, in words."""


@dataclass(frozen=True)
class Forecast:
    """What the study would take at this site. Seconds are of this machine, with its settings' threads.

    `head_round` is None where adapters train from the first round, `full_round` where they never do.
    """

    records: int
    unit: Unit
    encoding: float
    head_round: float | None
    full_round: float | None
    seconds: float
    memory: int
    bytes_up: int
    epsilon: float

    def sentences(self) -> list[tuple[str, str]]:
        """What a person reads, each with its title."""
        rounds = [
            f"{name} {seconds:.1f} s"
            for name, seconds in (
                ("head alone", self.head_round),
                ("with adapters", self.full_round),
            )
            if seconds is not None
        ]
        return [
            ("records", f"{self.records:,}, invented{self._whose()}"),
            ("time", f"{formats.duration(self.seconds)} of computing for the whole study"),
            ("of that", f"reading and encoding {self.encoding:.1f} s, once or twice"),
            ("a round", ", ".join(rounds)),
            ("memory", f"{self.memory / 2**20:,.0f} MiB at most"),
            ("leaves a round", f"{self.bytes_up / 1024:,.1f} KiB"),
            ("cost", self._cost()),
        ]

    def _whose(self) -> str:
        return "" if self.unit == "record" else f", one for each {self.unit}"

    def _cost(self) -> str:
        if math.isinf(self.epsilon):
            return "no bound: the study trains without differential privacy"
        return f"ε = {self.epsilon:.4g} if all rounds run"


def rehearse(
    charter: Charter, initial: tensors.Arrays, site: Site, say: Callable[[str], None]
) -> Forecast:
    """Runs one round of each kind on invented records. Raises FedwardError as a real round would."""
    site.permit(charter)
    base_model, plan = policy.base_model(charter, site.settings), charter.plan(site.name)
    torch.set_num_threads(site.settings.threads)
    count = charter.participant(site.name).records
    own = charter.adapter_at(site.name)
    model = tasks.build(base_model, charter.task, own)
    model.load(adapters.at_rank(tensors.from_arrays(initial), own.rank), "initial tensors")
    say(f"inventing {count:,} records")
    records = invented(charter.task, count, pretrained.load_tokenizer(base_model))

    head_rounds = charter.training.head_rounds if model.has_adapter else charter.training.rounds
    full_rounds = charter.training.rounds - head_rounds
    encoding, size = 0.0, 0
    measured: list[float | None] = [None, None]
    for kind, (number, rounds) in enumerate([(1, head_rounds), (head_rounds + 1, full_rounds)]):
        if not rounds:
            continue
        say(f"a round {'of the head alone' if kind == 0 else 'with adapters'}")
        model.enter_round(number, charter.training)
        started = time.perf_counter()
        examples = replace(model.prepare(records), owners=np.arange(count))
        encoding += time.perf_counter() - started
        before, sketch = model.exchanged(), sketches.of(charter, number)
        masks = sketch.masks(tensors.schema_of(before)) if sketch else {}
        started = time.perf_counter()
        train(model, examples, plan, charter.training, _randomness, _silent, masks=masks)
        measured[kind] = time.perf_counter() - started
        after = model.exchanged()
        update = {name: after[name] - before[name] for name in after}
        if sketch:
            update = sketch.taken(update)
        schema = charter.sent(tensors.schema_of(initial), site.name, number)
        bound = charter.aggregation.maximum_update_norm
        size = len(egress.clear(tensors.encode(update), schema, bound, site.name))
    head, full = measured
    return Forecast(
        records=count,
        unit=charter.privacy.unit,
        encoding=encoding,
        head_round=head,
        full_round=full,
        seconds=encoding + head_rounds * (head or 0.0) + full_rounds * (full or 0.0),
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        bytes_up=size,
        epsilon=accountant.epsilon(charter.schedule, charter.privacy.delta),
    )


def invented(task: TaskTerms, count: int, tokenizer: object) -> Columns:
    """Records of the task's roles: random words of the tokeniser, random labels; entities come first."""
    drawn = np.random.default_rng()
    vocabulary = [word for word in tokenizer.get_vocab() if word.isalpha()]  # type: ignore[attr-defined]

    def text() -> str:
        return " ".join(drawn.choice(vocabulary, drawn.integers(*WORDS)))

    if task.kind == "token-classification":
        texts = [text() for _ in range(count)]
        spans = [(0, text.index(" ")) for text in texts]
        entities = [
            entities_json((Entity(start=a, end=b, label=task.labels[i % len(task.labels)]),))
            for i, (a, b) in enumerate(spans)
        ]
        return {"text": texts, "entities": entities}
    if task.kind == "text-classification":
        labels = [task.labels[i % len(task.labels)] for i in range(count)]
        return {"text": [text() for _ in range(count)], "label": labels}
    return {"prompt": [text() for _ in range(count)], "completion": [text() for _ in range(count)]}


def _randomness(_purpose: str) -> Randomness:
    return Randomness.from_os()


def _silent(_done: int, _of: int) -> None:
    """A round's progress is not shown."""
