"""Adding up the replies of a round: 50 updates of 10 MB, and what memory that takes for more sites.

Both sides start at the bytes that arrived and end at the mean. Ours are safetensors bytes, which are
checked (names, shapes, finite, norm) and folded one after another; the peer's are Flower's records, of
which it needs all at once. The adapter is that of a BERT-base with LoRA of rank 16 in all linear layers.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

from fedward_server.fold import Fold, fraction_bits
from fedward_server.layout import Layout, check_norm
from fedward_shared import tensors
from fedward_shared.tensors import Schema, Tensors
from fedward_simulations.bench.rows import Row

UPDATES = 50
REPEATS = 7
SITES = (10, 100, 1000)
BOUND = 20.0
"""The updates' norm is 16."""
PEER = "flwr aggregate_arrayrecords"

LAYERS, WIDTH, INNER, RANK = 12, 768, 3072, 16
MODULES = {
    "query": (WIDTH, WIDTH),
    "key": (WIDTH, WIDTH),
    "value": (WIDTH, WIDTH),
    "dense": (WIDTH, WIDTH),
    "intermediate": (WIDTH, INNER),
    "output": (INNER, WIDTH),
}

MEMORY = """
import sys
from fedward_simulations.bench import fold
print(fold.memory(int(sys.argv[1])))
"""


def lora() -> Schema:
    """144 tensors, 10.6 MB."""
    schema: Schema = {}
    for layer in range(LAYERS):
        for module, (inputs, outputs) in MODULES.items():
            place = f"encoder.layer.{layer}.{module}"
            schema[f"{place}.lora_A.weight"] = (RANK, inputs)
            schema[f"{place}.lora_B.weight"] = (outputs, RANK)
    return schema


def blocks() -> Schema:
    """The same size in ten tensors: few headers for the peer to parse."""
    return {f"block.{number}": (1040, 256) for number in range(10)}


def run(folder: Path) -> list[Row]:
    """A row for time with each schema, and one for memory with each number of sites."""
    del folder
    torch.set_num_threads(1)
    rows = [
        _time("50 × 10 MB, LoRA of BERT-base", lora(), 0.25),
        _time("50 × 10 MB in ten tensors", blocks(), None),
    ]
    adapter = 4 * Layout(lora()).size
    for sites in SITES:
        extra = _memory(sites)
        name = f"memory beside the reply at hand, {sites} sites"
        rows.append(Row(name, extra / 1e6, adapter / 1e6, "one adapter", "MB", 1.2))
    return rows


def fold(schema: Schema, replies: list[bytes]) -> Tensors:
    """What a round does with each reply once its signature is checked, and the mean."""
    layout = Layout(schema)
    folded = Fold(layout, BOUND, len(replies))
    for reply in replies:
        folded.add("site", layout.row(reply, "update"), 1)
    return folded.mean()


def _time(name: str, schema: Schema, bound: float | None) -> Row:
    updates = [_update(schema, seed) for seed in range(UPDATES)]
    replies = [tensors.encode(update) for update in updates]
    records = [_record(update) for update in updates]
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(REPEATS):
        started = time.perf_counter()
        ours = fold(schema, replies)
        seconds["ours"].append(time.perf_counter() - started)
        started = time.perf_counter()
        peer = aggregate_arrayrecords(records, "num-examples")
        seconds["peer"].append(time.perf_counter() - started)
    step = 2.0 ** -fraction_bits(BOUND, UPDATES)
    for key, mean in ours.items():
        np.testing.assert_allclose(mean.numpy(), peer[key].numpy(), atol=step / 2)
    medians = {who: statistics.median(values) for who, values in seconds.items()}
    return Row(name, medians["ours"], medians["peer"], PEER, "s", bound)


def _update(schema: Schema, seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.01 * torch.randn(shape, generator=generator) for name, shape in schema.items()}


def _record(update: Tensors) -> RecordDict:
    arrays = ArrayRecord({name: Array(tensor.numpy()) for name, tensor in update.items()})
    return RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1.0})})


def _memory(sites: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(sites)], check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout)


def memory(sites: int) -> int:
    """Bytes by which the resident memory of this process peaks above what it is with one reply."""
    schema = lora()
    layout = Layout(schema)
    # A reply is received into the place of the one before; here it is changed where it lies.
    reply = bytearray(tensors.encode(_update(schema, 0)))
    content = np.frombuffer(reply, np.float32)[-layout.size :]
    check_norm(content, BOUND, "update")
    np.multiply(content[:1000], 1.0)
    _reset_peak()
    before = _status("VmRSS")
    folded = Fold(layout, BOUND, sites)
    for number in range(sites):
        content[number % layout.size] += 1e-3
        folded.add("site", layout.row(reply, "update"), 1)
    folded.mean()
    return _status("VmHWM") - before


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(value)
