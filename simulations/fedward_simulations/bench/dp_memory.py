"""Peak memory of a step of DP-SGD, beside the same step without DP and beside Opacus.

Each contender has a process of its own. A step's memory is how far it drives the high-water mark of the
resident set (Linux) above what is resident before the step. The allocator hands every larger block back
at once, so that it is the step that is measured and not the heap.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import torch

from fedward_simulations.bench import dp_contenders as contenders
from fedward_simulations.bench.dp_contenders import FUSED, GHOST, HOOKS, LENGTHS, OURS, PEFT
from fedward_simulations.bench.rows import Row

PEERS = (PEFT, FUSED, HOOKS, GHOST)
BOUND = 0.85
HAND_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def run(_folder: Path) -> list[Row]:
    """For each model and length, beside each peer."""
    rows = []
    for subject, about in contenders.SUBJECTS.items():
        for length in LENGTHS:
            peak = {name: _measured(name, subject, length) for name in (OURS, *PEERS)}
            rows += [
                Row(
                    f"{about.name}, {length} tokens",
                    peak[OURS],
                    peak[peer],
                    peer,
                    "MiB",
                    BOUND if peer == PEFT else None,
                )
                for peer in PEERS
            ]
    return rows


def _measured(name: str, subject: str, length: int) -> float:
    """MiB of one step, by a process of its own."""
    command = (sys.executable, "-m", __spec__.name, name, subject, str(length))
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **HAND_BACK}
    )
    return float(done.stdout.split()[-1])


def _child(name: str, subject: str, length: int) -> float:
    torch.set_num_threads(contenders.THREADS)
    batch = contenders.batch_of(length)
    step = contenders.contender(name, subject, len(batch[1]))
    for _ in range(2):  # what is made once, and stays
        step(contenders.batch_of(8, records=2))
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes("VmRSS")
    step(batch)
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(field)


if __name__ == "__main__":
    print(_child(sys.argv[1], sys.argv[2], int(sys.argv[3])))
