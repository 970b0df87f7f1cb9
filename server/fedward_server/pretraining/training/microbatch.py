"""How many rows fit through the model at once: measured with one and with two before training.

What a step needs beside the model grows with its rows in a straight line. On a GPU the line is of the
bytes that PyTorch allocated; on a CPU of the process's resident bytes at their highest, which Linux has
in `/proc`. The doctor halves the number should memory run out all the same.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from fedward_server.pretraining.training.launched import local_count
from fedward_shared.errors import ModelError

RESERVE = 0.9
"""Of the memory that is free, the share that is used: the rest is for what a line does not tell."""

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
MEMORY = Path("/proc/meminfo")
LIMITS = (  # of a container: what it may have, and has
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def most_that_fit(needs: Callable[[int], int], free: int, rows: int) -> int:
    """The largest power of two of rows, at most `rows`, that `free` bytes are enough for.

    `needs` says how many bytes a number of rows takes, and is asked for 1 and 2. Raises ModelError if
    not even one row fits.
    """
    one = needs(1)
    if one > free:
        raise ModelError(
            f"model: one row needs {one / 2**30:.2f} GiB beside the model, and "
            f"{free / 2**30:.2f} GiB are free; recompute activations (parallel.recompute = true), take "
            "a shorter context or a smaller model, or shard it over more workers (see --dry-run)"
        )
    if rows == 1:
        return 1
    each = max(1, needs(2) - one)
    fit = min(rows, 1 + int((RESERVE * free - one) // each)) if RESERVE * free >= one else 1
    return 1 << (fit.bit_length() - 1)


def needed(step: Callable[[int], None], device: torch.device) -> Callable[[int], int]:
    """The bytes that `step(rows)`, a pass forward and backward, takes at its highest."""

    def measured(rows: int) -> int:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            step(rows)
            return int(torch.cuda.max_memory_allocated(device)) - before
        before = _field(STATUS, "VmRSS")
        CLEAR.write_text("5")  # the highest is measured anew from here (proc(5))
        step(rows)
        return max(1, _field(STATUS, "VmHWM") - before)

    return measured


def free(device: torch.device) -> int:
    """The bytes that a worker may still take on `device`; the workers of a machine share its memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [_field(MEMORY, "MemAvailable")]
    for most, now in LIMITS:
        if most.is_file() and (limit := most.read_text().strip()).isdigit():
            found.append(int(limit) - int(now.read_text()))
    return max(0, min(found)) // local_count()


def _field(path: Path, field: str) -> int:
    (line,) = (s for s in path.read_text().splitlines() if s.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
