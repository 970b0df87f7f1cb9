"""Runs benchmarks; what they measured goes to `result.json`, and to a page of all where one is named."""

import json
import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from fedward_shared.files import write_atomically
from fedward_simulations.bench import (
    accounting,
    attacks,
    correlated,
    cross_site,
    dedup,
    distributed,
    dp_memory,
    dp_step,
    engines,
    exchange,
    fold,
    gate,
    identifiers,
    masking,
    masking_scale,
    methods,
    pretrain,
    psi,
    quality,
    registration,
    sketch,
    tokenizer,
)
from fedward_simulations.bench import bytes as traffic
from fedward_simulations.bench.rows import Row, table

RESULT_FILE = "result.json"
PACKAGES = ("torch", "numpy", "flwr", "opacus", "peft", "transformers", "dp-accounting")
INTRODUCTION = """# Benchmarks

Each section is written by the command that stands in it, on the machine that it names: ours and the
peer in the same run, in turns, medians. Less is better; a ratio is ours in parts of the peer's.
`make bench` writes all of them."""


@dataclass(frozen=True)
class Benchmark:
    """What it is about, and how it is measured.

    `run` gets a folder. One that is `resumable` gets the same again, and goes on where it was stopped.
    """

    about: str
    run: Callable[[Path], Sequence[Row]]
    resumable: bool = False


BENCHMARKS: dict[str, Benchmark] = {
    "accounting": Benchmark(
        "ε by our accountant and by its peers, and from a ledger", accounting.run
    ),
    "attacks": Benchmark(
        "Hostile sites under each rule of aggregation", attacks.run, resumable=True
    ),
    "bytes": Benchmark(
        "Bytes of a site's round, and what they cost in accuracy", traffic.run, resumable=True
    ),
    "correlated-noise": Benchmark(
        "Noise correlated over a round's steps, and independent noise",
        correlated.run,
        resumable=True,
    ),
    "cross-site": Benchmark("Near-duplicates between hospitals", cross_site.run),
    "dedup": Benchmark("Near-duplicates, beside datasketch one by one", dedup.run),
    "distributed-noise": Benchmark(
        "Noise that sites make together, and noise of each by itself",
        distributed.run,
        resumable=True,
    ),
    "dp-memory": Benchmark("Peak memory of a step of DP-SGD", dp_memory.run),
    "dp-step": Benchmark("A step of DP-SGD", dp_step.run),
    "engines": Benchmark("The two engines of a simulation", engines.run),
    "exchange": Benchmark("Batches between two parties through the relay", exchange.run),
    "fold": Benchmark("Adding up the replies of a round", fold.run),
    "gate": Benchmark("A message through a site's gate and past it", gate.run),
    "identifiers": Benchmark("Identifiers found in clinical texts", identifiers.run),
    "masking": Benchmark("What masking costs a site", masking.run),
    "masking-scale": Benchmark("How masking grows", masking_scale.run),
    "methods": Benchmark("Adapter methods beside each other", methods.run, resumable=True),
    "pretrain": Benchmark(
        "Pretraining, on a machine that others use: speed, equal curves, kills, faults",
        pretrain.run,
        resumable=True,
    ),
    "psi": Benchmark("Private set intersection, beside OpenMined's", psi.run),
    "quality": Benchmark("Telling damaged texts from undamaged ones", quality.run),
    "registration": Benchmark("Registering a dataset at a site", registration.run),
    "sketch": Benchmark("Training a part of the numbers in each round", sketch.run, resumable=True),
    "tokenizer": Benchmark("Tokens of a text before and after Chinese is learned", tokenizer.run),
}


def measure(name: str, out: Path, page: Path | None, console: Console) -> None:
    """Runs the benchmark `name` and writes `out/name/result.json`; renews its section of `page`."""
    benchmark = BENCHMARKS[name]
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    started, clock = datetime.now(UTC), time.monotonic()
    if benchmark.resumable:
        rows = list(benchmark.run(folder))
    else:
        with TemporaryDirectory() as scratch:
            rows = list(benchmark.run(Path(scratch)))
    result = {
        "benchmark": name,
        "about": benchmark.about,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "rows": [row.as_json() for row in rows],
    }
    write_atomically(
        folder / RESULT_FILE, json.dumps(result, indent=1, ensure_ascii=False).encode()
    )
    lines = table(rows)
    console.print("\n".join([f"{name}: {benchmark.about}", *lines, ""]), markup=False)
    if page is not None:
        write_section(page, name, [*_heading(name, result), *lines])


def _heading(name: str, result: dict[str, Any]) -> list[str]:
    # Of one that was resumed only the last part was timed.
    seconds = "" if BENCHMARKS[name].resumable else f", {result['seconds']:.0f} s"
    return [
        f"## {result['about']}",
        "",
        f"`fedward bench {name}`, {result['started'][:10]}, {result['machine']}, "
        f"torch {result['versions']['torch']}{seconds}.",
        "",
    ]


def machine() -> str:
    """Processor and cores."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    return f"{model[1] if model else platform.processor() or platform.machine()}, {cores} cores"


def write_section(page: Path, name: str, lines: Sequence[str]) -> None:
    """Puts `lines` into the section `name` of `page`, and leaves all others as they are."""
    text = page.read_text("utf-8") if page.exists() else INTRODUCTION
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = "\n".join([begin, *lines, end])
    if begin in text and end in text:
        before, rest = text.split(begin, 1)
        text = before + section + rest.split(end, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    write_atomically(page, text.encode())
