"""Faults of a training, put in from outside: what the doctor says, and what each costs.

Nothing of the product is another than in any training: the faults come through what it is given, its
rows and its losses, from the memory that the process may have, and by killing a worker.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from fedward_server.pretraining import assembling
from fedward_server.pretraining.corpus.data import Data
from fedward_server.pretraining.corpus.objectives import IGNORED, Batch
from fedward_server.pretraining.corpus.stream import Row
from fedward_server.pretraining.doctor import Doctor
from fedward_server.pretraining.forward import Forward
from fedward_server.pretraining.losses import Losses
from fedward_server.pretraining.monitoring import diary
from fedward_server.pretraining.monitoring.diary import Diary
from fedward_server.pretraining.monitoring.figures import Machine
from fedward_server.pretraining.monitoring.watchers import Watchers
from fedward_server.pretraining.training.checkpoints import Checkpoints
from fedward_server.pretraining.training.loop import Training
from fedward_server.pretraining.training.parallel import Workers
from fedward_simulations.bench import pretrain_texts
from fedward_simulations.bench.pretrain_runs import (
    MERGES,
    SCHEDULE,
    TINY,
    command,
    curve,
    environment,
)
from fedward_simulations.bench.pretrain_speed import THREADS
from fedward_simulations.bench.pretrain_texts import Begun

AT = 55
"""The step, or the building of a step's rows, with which a fault begins."""

TERMS = SCHEDULE | {"steps": 90, "save_every": 10, "evaluate_every": 30}
DOCTOR = {"window": 32, "warm_up": 10, "stalled_seconds": 3}
FEW = 60
"""Documents that a model learns by heart, of which there are too many rows."""

MEMORY = 200 * 2**20
"""Bytes that a training which has too little may take beside what the process has."""

Found = dict[str, Any]
Spoil = Callable[[int, Batch], Batch]


class Faulty(Data):
    """Rows that `spoil` changes, by how many steps' rows were built."""

    def __init__(self, data: Data, spoil: Spoil) -> None:
        self.__dict__.update(data.__dict__)
        self._spoil, self._built = spoil, 0

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Those of a step, as they are or spoiled."""
        made = super().batch(rows)
        if len(rows) != self._batch:
            return made
        self._built += 1
        return self._spoil(self._built, made)


def measure(folder: Path) -> dict[str, Found]:
    """Of each fault what was said, how many steps were done again and how many seconds it cost."""
    torch.set_num_threads(THREADS)
    pretrain_texts.write_texts(folder, 3_000)
    terms = pretrain_texts.content(TINY, TERMS, MERGES, doctor=DOCTOR)
    begun = pretrain_texts.begin(folder, "sound", terms)
    found = {
        "the labels of 6 steps are mixed up": _spoiled(begun, range(AT, AT + 6)),
        "those of every other step are": _spoiled(begun, range(AT, AT + 12, 2)),
        "a loss is not a number": _not_a_number(begun),
        "the loader hangs": _hanging(begun),
        "too little memory for 64 rows": _memory(folder),
        "the rows of 60 documents are nearly all that is drawn": _shifted(folder),
        "a worker of two is killed": _dead_worker(folder),
    }
    silent = [fault for fault, cost in found.items() if not cost["said"]]
    assert not silent, f"nothing was said when {silent}"
    return found


def told(found: Mapping[str, Found]) -> str:
    """A table of it in Markdown."""
    head = ["| put in | what the diary says | steps done again | seconds |", "|---|---|---|---|"]
    lines = [
        f"| {fault} | {_said(cost['said'])} | {cost['again']} | {cost['seconds']:.1f} |"
        for fault, cost in found.items()
    ]
    return "\n".join([*head, *lines]) + "\n"


def _said(texts: Sequence[str]) -> str:
    """The first two of them."""
    more = f", and {len(texts) - 2} more" if len(texts) > 2 else ""
    return "<br>".join(f"`{text}`" for text in texts[:2]) + more


def cost(folder: Path, extra: Sequence[str] = ()) -> Found:
    """Of a training that has ended: what its doctor said, and what was lost.

    Seconds are those of the steps that were done again, and what passed around each treatment (or each
    line of a kind in `extra`) between one step and the next.
    """
    record = diary.read(folder / diary.FILE)
    lines = [json.loads(line) for line in (folder / diary.FILE).read_text("utf-8").splitlines()]
    again = [report for left in record.left for report in left]
    seconds = sum(report.seconds for report in again)
    before, treated = lines[0]["at"], False
    for line in lines[1:]:
        if line["kind"] == "step":
            if treated:
                seconds += line["at"] - line["seconds"] - before
            before, treated = line["at"], False
        treated = treated or line["kind"] in ("treatment", *extra)
    said = [treatment.reason for treatment in record.treatments]
    return {
        "said": said,
        "again": len(again),
        "seconds": seconds,
        "steps": len(record.steps),
        "last": record.steps[-1].loss,
    }


def _train(
    begun: Begun, spoil: Spoil | None = None, losses: Callable[[Forward], Any] | None = None
) -> Found:
    """Trains with a fault in a folder of its own, to the last step."""
    crew = Workers(begun.terms.parallel, [], begun.terms.schedule.clipping)
    folder = begun.file.with_suffix("") / f"fault-{time.monotonic_ns()}"
    folder.mkdir()
    forward = Forward(begun.terms.model, crew.device)
    model = forward.attached(assembling.new_model(begun.terms, begun.prepared))
    data: Data = assembling.data(begun.terms, begun.prepared, crew)
    if spoil is not None:
        data = Faulty(data, spoil)
    with Diary(folder / diary.FILE, Machine(1, "cpu", 1.0, None)) as watcher:
        watchers = Watchers([watcher])
        Training(
            begun.terms.schedule,
            model,
            forward if losses is None else losses(forward),
            data,
            crew,
            Checkpoints(folder / "checkpoints", 3, watchers.notice),
            Doctor(begun.terms.doctor),
            watchers,
            seed=0,
        ).run()
    return cost(folder)


def _spoiled(begun: Begun, when: range) -> Found:
    return _train(begun, lambda built, batch: mixed_up(batch) if built in when else batch)


def mixed_up(batch: Batch) -> Batch:
    """The same with the labels of other places: nothing can be learned of it."""
    labels = batch.labels.clone()
    known = labels != IGNORED
    wanted = labels[known]
    labels[known] = wanted[torch.randperm(len(wanted), generator=torch.Generator().manual_seed(0))]
    return Batch(batch.tokens_BT, batch.documents_BT, batch.positions_BT, labels)


def _not_a_number(begun: Begun) -> Found:
    def wrapped(forward: Forward) -> Callable[[Any, Any], Losses]:
        calls = 0

        def losses(model: Any, batch: Batch) -> Losses:
            nonlocal calls
            calls += int(model.training)
            found = forward(model, batch)
            return found._replace(summed=found.summed * torch.nan) if calls == AT else found

        return losses

    return _train(begun, losses=wrapped)


def _hanging(begun: Begun) -> Found:
    ended = threading.Event()

    def spoil(built: int, batch: Batch) -> Batch:
        if built == AT:
            ended.wait()
        return batch

    try:
        return _train(begun, spoil)
    finally:
        ended.set()


def _memory(folder: Path) -> Found:
    """In a process of its own: one that has computed before has memory to use again."""
    words = [sys.executable, "-m", __name__, str(folder)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, env=environment())
    found: Found = json.loads(done.stdout)
    return found


def _too_little(folder: Path) -> Found:
    schedule = TERMS | {"steps": 4, "batch": 64, "micro_batch": 64}
    terms = pretrain_texts.content(TINY, schedule, MERGES, doctor=DOCTOR)
    begun = pretrain_texts.begin(folder, "memory", terms)
    with _limited(MEMORY):
        return _train(begun)


@contextmanager
def _limited(room: int) -> Iterator[None]:
    """The process may take so many bytes more (RLIMIT_DATA, getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    lines = Path("/proc/self/status").read_text().splitlines()
    (held,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _shifted(folder: Path) -> Found:
    terms = pretrain_texts.content(
        TINY, TERMS | {"steps": 300, "evaluate_every": 20, "rate": 5e-3}, MERGES, doctor=DOCTOR
    )
    few = (folder / f"{pretrain_texts.ENGLISH}.jsonl").read_text("utf-8").splitlines(True)[:FEW]
    (folder / "few.jsonl").write_text("".join(few), "utf-8")
    english, chinese = terms["sources"]
    terms["sources"] = [
        english | {"paths": ["few.jsonl"], "weight": 0.98},
        chinese | {"weight": 0.02},
    ]
    return _train(pretrain_texts.begin(folder, "shifted", terms))


def _dead_worker(folder: Path) -> Found:
    """Under torchrun, whose course has to be that of two whom nobody killed."""
    courses = []
    for name, kill in (("whole", False), ("dead", True)):
        terms = pretrain_texts.content(TINY, TERMS | {"steps": 60}, MERGES)
        pretrain_texts.begin(folder, name, terms)
        place = folder / name
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command(place, 2, restarts=1), stdout=log, stderr=log, env=environment()
            )
            if kill:
                _kill_second(process, place)
            assert process.wait() == 0, (folder / f"{name}.log").read_text("utf-8", "replace")
        courses.append(curve(place))
    found = cost(folder / "dead", extra=("begun",))
    same = "the same" if courses[0] == courses[1] else "another"
    return found | {"said": ["a second line that it has begun", f"{same} curve"]}


def _kill_second(process: "subprocess.Popen[bytes]", place: Path) -> None:
    """Kills worker 1 once 25 steps are written down."""
    while not (place / diary.FILE).exists() or len(curve(place)) < 25:
        assert process.poll() is None, "it ended before"
        time.sleep(0.1)
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.environ().get("RANK") == "1":
            os.kill(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    print(json.dumps(_too_little(Path(sys.argv[1]))))
