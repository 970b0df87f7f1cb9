"""`fedward pretrain` as it is typed: killed, resumed, on two workers, one of which dies."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from patience import LONG, PATIENCE, until
from server.pretraining.trained import configuration

from fedward_server.pretraining.monitoring import diary
from fedward_server.pretraining.training import launched

pytestmark = [pytest.mark.e2e, LONG]
FEDWARD = Path(sys.executable).with_name("fedward")
TORCHRUN = Path(sys.executable).with_name("torchrun")
STEPS = 200
"""A step takes 12 ms where nothing else runs: what is to happen in the middle comes before the end."""
SCHEDULE = {"steps": STEPS, "save_every": 5, "evaluate_every": 50}


def curve(run: Path) -> dict[int, float]:
    return {report.step: report.loss for report in diary.read(run / diary.FILE).steps}


def typed(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [FEDWARD, "pretrain", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that nobody disturbed."""
    path = configuration(tmp_path_factory.mktemp("whole"), schedule=SCHEDULE)
    done = typed(path)
    assert done.returncode == 0, done.stderr
    return path.with_suffix("")


def test_killed_again_and_again_it_has_the_same_curve(whole: Path, tmp_path: Path) -> None:
    path = configuration(tmp_path, schedule=SCHEDULE)
    run, drawn = path.with_suffix(""), random.Random(7)
    for after in sorted(drawn.sample(range(1, STEPS // 2), 2)):
        process = subprocess.Popen([FEDWARD, "pretrain", path], stderr=subprocess.DEVNULL)
        until(lambda after=after: (run / diary.FILE).exists() and last(run) >= after)
        process.kill()
        process.wait()
    newest = max((run / "checkpoints").glob("step-?????????"))  # not one that a kill left half
    (shard,) = newest.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    done = typed("resume", run)
    assert done.returncode == 0, done.stderr
    assert f"{newest.name}" in "".join(diary.read(run / diary.FILE).notices)
    assert curve(run) == curve(whole)
    told = typed("export", run, tmp_path / "model")
    assert told.returncode == 0, told.stderr
    assert "sha256:" in told.stdout


def test_asked_to_stop_it_keeps_the_step_that_it_is_in(whole: Path, tmp_path: Path) -> None:
    path = configuration(tmp_path, schedule=SCHEDULE)
    run = path.with_suffix("")
    process = subprocess.Popen([FEDWARD, "pretrain", path], stderr=subprocess.PIPE, text=True)
    until(lambda: (run / diary.FILE).exists() and last(run) >= 60)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "which are kept; the same command goes on" in said
    kept = diary.read(run / diary.FILE).checkpoints[-1].step
    assert kept == max(curve(run)) + 1
    assert typed(path).returncode == 0
    assert curve(run) == curve(whole)


@contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Nothing of it stays, however the test goes; torchrun ends its workers."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)


def workers_of(parent: int) -> list[int]:
    """The ids of its children."""
    found = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in found.read_text().split()] if found.exists() else []


def test_two_workers_have_the_curve_of_one_though_one_dies_and_one_hangs(
    whole: Path, tmp_path: Path
) -> None:
    path = configuration(tmp_path, schedule=SCHEDULE, parallel={"patience": 20})
    run = path.with_suffix("")
    words, log = ["--standalone", "--nproc-per-node=2", "--max-restarts=4"], tmp_path / "log"
    process = subprocess.Popen(
        [TORCHRUN, *words, "--no-python", FEDWARD, "pretrain", "run", path],
        stderr=log.open("w"),
        env={**os.environ, "OMP_NUM_THREADS": "1", launched.SHARED_STORE: "1"},
    )
    with ended(process):
        until(lambda: (run / diary.FILE).exists() and last(run) >= 40)
        os.kill(workers_of(process.pid)[-1], signal.SIGKILL)
        until(lambda: last(run) >= 90)
        hung = workers_of(process.pid)[-1]
        os.kill(hung, signal.SIGSTOP)
        until(lambda: "Timed out waiting" in log.read_text())
        os.kill(hung, signal.SIGKILL)  # torchrun would, after 30 s
        assert process.wait(PATIENCE) == 0, log.read_text()[-3000:]
    record = diary.read(run / diary.FILE)
    assert {begun.workers for begun in record.begun} == {2}
    assert len(record.begun) >= 3
    ours, alone = curve(run), curve(whole)
    assert ours == pytest.approx(alone, abs=1e-2)  # rounding grows with the steps
    assert [ours[n] for n in range(60)] == pytest.approx([alone[n] for n in range(60)], abs=1e-4)


def last(run: Path) -> int:
    """The last step of the course that it takes."""
    return max(curve(run), default=0)
