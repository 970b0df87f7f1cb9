"""Registering a dataset: seconds, memory and the size of the ledger, by the command of a site."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tomli_w

from fedward_shared import records
from fedward_shared.identity import SigningKey
from fedward_simulations.bench.rows import Row

RECORDS = (1_000, 200_000)
WORDS = 60
# What getrusage says of a child begins with what its parent had.
PROGRAM = """
import atexit
from pathlib import Path
from fedward_shared.cli import main
atexit.register(lambda: print(Path("/proc/self/status").read_text()))
main()
"""
COMMAND = (sys.executable, "-c", PROGRAM, "site", "register")


def run(folder: Path) -> list[Row]:
    """What registering takes, for each number of records, and what the same file takes again."""
    rows = []
    for count in RECORDS:
        home = _site(folder / str(count), count)
        for what in ("first", "again"):
            seconds, computing, peak = _register(home)
            ledger = sum(p.stat().st_size for p in (home.parent / "state").glob("ledger.sqlite*"))
            about = f"{count:,} records, {what}"
            rows += [
                Row(f"{about}: the clock", seconds),
                Row(f"{about}: the processor", computing),
                Row(f"{about}: peak memory", peak / 2**20, unit="MiB"),
                Row(f"{about}: the ledger", ledger / 2**20, unit="MiB"),
            ]
    return rows


def _site(home: Path, count: int) -> Path:
    drawn = np.random.default_rng(0)
    words = [f"word{number}" for number in range(5000)]
    texts = [" ".join(drawn.choice(words, WORDS)) for _ in range(count)]
    owners = [f"p{number // 4}" for number in range(count)]
    records.write_jsonl(home / "records.jsonl", {"text": texts, "patient": owners})
    SigningKey.generate().save(home / "site.key")
    dataset = {"path": "records.jsonl", "account": "people", "epsilon": 1.0, "owner": "patient"}
    settings = {"name": "north", "coordinators": {}, "base_models": [], "datasets": {"r": dataset}}
    (home / "site.toml").write_text(tomli_w.dumps(settings), "utf-8")
    return home / "site.toml"


def _register(home: Path) -> tuple[float, float, int]:
    """Seconds of the command, those of the processor, and its peak memory in bytes."""
    started = time.perf_counter()
    before = os.times()
    done = subprocess.run(
        [*COMMAND, "--site", str(home)], check=True, stdout=subprocess.PIPE, text=True
    )
    after = os.times()
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", done.stdout, re.MULTILINE)
    computing = sum(after[2:4]) - sum(before[2:4])
    return time.perf_counter() - started, computing, int(peak) * 1024
