"""`fedward pretrain` as people run it: under torchrun, killed at any moment, with a damaged checkpoint.

Everything is read from the diary that the command writes. A curve is the loss of each step.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedward_server.pretraining.assembling import CHECKPOINTS
from fedward_server.pretraining.monitoring import diary
from fedward_server.pretraining.monitoring.diary import Record
from fedward_server.pretraining.training import launched
from fedward_simulations.bench import pretrain_texts
from fedward_simulations.bench.pretrain_speed import apart

COMMAND = (str(Path(sys.executable).with_name("fedward")), "pretrain")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python")
TINY = {
    "family": "llama",
    "hidden": 64,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "intermediate": 128,
    "context": 128,
}
MERGES = 2_000
SCHEDULE = {"batch": 16, "micro_batch": 16, "rate": 3e-3, "warm_up": 10, "evaluate_every": 50}
STRATEGIES = ("fsdp2", "ddp")
LATEST = 0.2
"""Seconds after the step that was drawn for it within which a process is killed."""


def workers(folder: Path, steps: int) -> dict[str, Any]:
    """The curve of one process, and how far that of two is from it, by strategy."""
    made = _made(folder, "one", {"steps": steps})
    _trained(made)
    alone = curve(made)
    differences = {}
    for strategy in STRATEGIES:
        parallel = {"precision": "fp32", "strategy": strategy}
        place = _again(made, f"two-{strategy}", {"steps": steps}, parallel=parallel)
        _trained(place, workers=2)
        assert [begun.workers for begun in diary.read(place / diary.FILE).begun] == [2]
        differences[strategy] = apart(curve(place), alone)
    return {"steps": steps, "first": alone[0], "last": alone[-1], "apart": differences}


def kills(folder: Path, count: int, steps: int) -> dict[str, Any]:
    """What `count` kills at random moments and a damaged checkpoint leave of the curve.

    The moments: soon after steps that are drawn from the first nine in ten.
    """
    schedule = {"steps": steps, "save_every": 5}
    whole = _made(folder, "whole", schedule)
    _trained(whole)
    killed = _again(whole, "killed", schedule)
    drawn = np.random.default_rng(0)
    at: list[int] = []
    for step in sorted(drawn.choice(steps * 9 // 10, count, replace=False).tolist()):
        assert _killed(killed, step, float(drawn.uniform(0, LATEST))), "it had ended before"
        at.append(len(_steps(killed)))
    _damage(killed / CHECKPOINTS)
    _trained(killed)
    said = diary.read(killed / diary.FILE)
    damage = [text for text in said.notices if "damaged" in text]
    return {
        "kills": len(at),
        "at": at,
        "done again": sum(len(left) for left in said.left),
        "differing": differing(said, curve(whole)),
        "fell back": bool(damage),
        "said": damage[0] if damage else "",
    }


def curve(folder: Path) -> list[float]:
    """The loss of each step of the training in `folder`."""
    return [report.loss for report in diary.read(folder / diary.FILE).steps]


def differing(record: Record, expected: Sequence[float]) -> int:
    """How many steps, also of courses that were left, have another loss; one that is missing has."""
    taken = dict(enumerate(expected))
    every = [report for steps in (record.steps, *record.left) for report in steps]
    missing = len(taken) - len({report.step for report in record.steps})
    return missing + sum(taken.get(report.step) != report.loss for report in every)


def _made(folder: Path, name: str, schedule: dict[str, Any], **others: Any) -> Path:
    """The folder of a training, whose tokenizer and corpus are there."""
    terms = pretrain_texts.content(TINY, SCHEDULE | schedule, MERGES, **others)
    pretrain_texts.begin(folder, name, terms)
    return folder / name


def _again(made: Path, name: str, schedule: dict[str, Any], **others: Any) -> Path:
    """The same in a folder of its own."""
    for part in pretrain_texts.MADE:
        shutil.copytree(made / part, made.parent / name / part)
    return _made(made.parent, name, schedule, **others)


def command(folder: Path, workers: int = 1, restarts: int = 0) -> list[str]:
    """The command that trains in `folder`, by the file beside it."""
    own = [*COMMAND, "run", str(folder.with_suffix(".toml"))]
    if workers == 1:
        return own
    return [*TORCHRUN, f"--nproc-per-node={workers}", f"--max-restarts={restarts}", *own]


def environment() -> dict[str, str]:
    """One thread for each process: two workers have two cores. Those that begin again have a store of
    their own."""
    return {**os.environ, "OMP_NUM_THREADS": "1", launched.SHARED_STORE: "1"}


def _trained(folder: Path, workers: int = 1) -> None:
    with (folder / "log").open("wb") as log:
        subprocess.run(
            command(folder, workers), check=True, stdout=log, stderr=log, env=environment()
        )


def _killed(folder: Path, step: int, after: float) -> bool:
    """Runs the command and kills it so many seconds after it wrote down that `step` is done.

    Whether it was still running.
    """
    before = _size(folder)
    with subprocess.Popen(
        command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    ) as process:
        while process.poll() is None and (_size(folder) == before or len(_steps(folder)) <= step):
            time.sleep(0.02)
        time.sleep(after)
        ran = process.poll() is None
        process.send_signal(signal.SIGKILL)
    return ran


def _steps(folder: Path) -> list[float]:
    return curve(folder) if _size(folder) else []


def _size(folder: Path) -> int:
    path = folder / diary.FILE
    return path.stat().st_size if path.exists() else 0


def _damage(checkpoints: Path) -> None:
    """Turns a bit of the newest checkpoint's largest file."""
    newest = max(path for path in checkpoints.iterdir() if path.suffix != ".part")
    largest = max(newest.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
