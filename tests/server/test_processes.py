"""Supervision on real processes: started again, later each time, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from patience import PATIENCE, until

from fedward_server.processes import (
    Supervised,
    wait_until,
)

# Starts a child of its own, says both ids, and waits.
PARENT = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(os.getpid(), child.pid, flush=True)\n"
    "time.sleep(600)\n"
)


def exists(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Watched:
    def __init__(self, folder: Path, code: str) -> None:
        self.said: list[str] = []
        self.log = folder / "log"
        command = [sys.executable, "-c", code]
        self.process = Supervised("worker", command, self.log, os.environ, self.said.append)

    def ids(self) -> list[int]:
        until(lambda: self.log.exists() and "\n" in self.log.read_text())
        return [int(word) for word in self.log.read_text().splitlines()[-1].split()]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path, PARENT)
    yield watched
    watched.process.stop(0.1)


def test_a_process_is_stopped_with_all_that_it_started(family: Watched) -> None:
    family.process.look(0.0)
    ids = family.ids()
    assert family.process.is_running
    family.process.stop()
    until(lambda: not any(exists(pid) for pid in ids))
    assert family.said == [f"worker: started, process {ids[0]}", "worker: stopped"]
    family.process.stop()  # twice is once


def test_one_that_ends_leaves_no_orphans_and_is_started_again_when_due(family: Watched) -> None:
    family.process.look(0.0)
    parent, child = family.ids()
    os.kill(parent, signal.SIGKILL)
    until(lambda: not family.process.is_running)
    family.process.look(10.0)
    until(lambda: not exists(child))
    assert "worker: ended with -9" in family.said[-1]
    assert family.said[-1].endswith("again in 1 s")
    family.process.look(10.9)
    assert not family.process.is_running
    family.process.look(11.0)
    assert family.process.is_running
    assert family.process._process is not None
    assert family.process._process.pid != parent


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    code = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\n"
    code += "print(1, flush=True)\ntime.sleep(600)"
    watched = Watched(tmp_path, code)
    watched.process.look(0.0)
    watched.ids()
    watched.process.stop(0.2)
    assert not watched.process.is_running
    assert watched.said[-1] == "worker: stopped"


def test_one_whose_supervisor_is_killed_ends_too(tmp_path: Path) -> None:
    code = (
        "import os, time\nfrom pathlib import Path\nfrom fedward_server.processes import Supervised\n"
        f"p = Supervised('w', ['sleep', '600'], Path({str(tmp_path / 'log')!r}), os.environ, print)\n"
        "p.look(0.0)\nprint(p._process.pid, flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as above:
        assert above.stdout is not None
        above.stdout.readline()
        pid = int(above.stdout.readline())
        # Only the command itself has the signal of its parent's death set: what comes before it sets it.
        until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        above.kill()
    until(lambda: not exists(pid))


def test_waiting_ends_in_time() -> None:
    start = time.monotonic()
    assert not wait_until(lambda: False, 0.2)
    assert 0.2 <= time.monotonic() - start < PATIENCE
