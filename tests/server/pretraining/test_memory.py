"""Estimates of memory, beside what PyTorch keeps and what a process takes."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from server.pretraining.small import FAMILY_NAMES, SPECIALS, VOCABULARY, small

from fedward_server.pretraining.architectures import Architecture, build
from fedward_server.pretraining.counting import counts
from fedward_server.pretraining.families import FamilyName
from fedward_server.pretraining.memory import (
    Precision,
    Run,
    activations,
    layer_activations,
    memory,
)
from fedward_server.pretraining.packed import packed_inputs

CONTEXT = 120


def kept(architecture: Architecture, rows: int, precision: Precision, *, sparing: bool) -> int:
    """Bytes of all that backward needs but the parameters."""
    model = build(architecture, VOCABULARY, SPECIALS, seed=1)
    if sparing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    known = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    storages: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            storages[tensor.untyped_storage().data_ptr()] = tensor  # alive: no address comes twice
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        outputs = model(**batch(architecture, rows))
    assert outputs.logits.grad_fn is not None
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def batch(architecture: Architecture, rows: int) -> dict[str, Any]:
    """Rows of two documents (one, where there can be no more); T5's with 0.9 and 0.2 of the tokens."""
    source, target = architecture.context, 0
    if architecture.family == "t5":
        source, target = round(0.9 * source), round(0.2 * source)
    halves = 1 if not architecture.row.packed else 2
    documents_BT = (torch.arange(source) * halves // source).expand(rows, -1)
    positions_BT = (torch.arange(source) % (source // halves)).expand(rows, -1)
    targets_BU = (torch.arange(target) * 2 // max(1, target)).expand(rows, -1)
    given = packed_inputs(architecture, positions_BT, documents_BT, targets_BU)
    if target:
        given["decoder_input_ids"] = torch.ones(rows, target, dtype=torch.long)
    return given | {"input_ids": torch.full((rows, source), 7)}


def of_a_layer_and_row(architecture: Architecture, precision: Precision, *, sparing: bool) -> float:
    """By differences, so that what all layers or all rows have in common drops out.

    A single row is stored in fewer copies than one of several.
    """

    def more(layers: int) -> int:
        shape = architecture.model_copy(update={"layers": layers})
        few, many = (kept(shape, rows, precision, sparing=sparing) for rows in (2, 3))
        return many - few

    return (more(4) - more(2)) / 2


CASES: list[tuple[Precision, dict[str, int]]] = [
    ("fp32", {"hidden": 256, "intermediate": 320}),
    ("bf16", {"hidden": 64, "intermediate": 640}),
]


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize(("precision", "sizes"), CASES, ids=["fp32, wide", "bf16, wide inside"])
def test_a_layer_keeps_what_is_said_to_a_twentieth(
    family: FamilyName, precision: Precision, sizes: dict[str, int]
) -> None:
    architecture = small(family, context=CONTEXT, **sizes)
    real = of_a_layer_and_row(architecture, precision, sparing=False)
    assert layer_activations(architecture, precision) == pytest.approx(real, rel=0.05)


@pytest.mark.parametrize("family", ["bert", "llama", "t5", "mixtral"])
def test_with_checkpointing_a_layer_keeps_its_input(family: FamilyName) -> None:
    architecture = small(family, context=CONTEXT, hidden=128, intermediate=384)
    real = of_a_layer_and_row(architecture, "fp32", sparing=True)
    deeper = architecture.model_copy(update={"layers": 3})
    run = Run(precision="fp32", checkpointing=True)
    said = activations(deeper, run) - activations(architecture, run)
    assert said == pytest.approx(real, rel=0.15)


def test_states_are_those_of_adamw() -> None:
    architecture = small("llama")
    model = build(architecture, VOCABULARY, SPECIALS, seed=1)
    optimiser = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.arange(16)[None]).logits.sum().backward()
    optimiser.step()
    moments = [s[key] for s in optimiser.state.values() for key in ("exp_avg", "exp_avg_sq")]
    gradients = [parameter.grad for parameter in model.parameters()]
    held = sum(t.nbytes for t in (*model.parameters(), *gradients, *moments) if t is not None)
    number = counts(architecture, VOCABULARY)
    run = Run(strategy="ddp", precision="fp32")
    assert memory(architecture, VOCABULARY, number, run, devices=1).states == held


def test_what_is_shared_is_shared_and_the_rest_is_not() -> None:
    architecture = small("llama")
    number = counts(architecture, VOCABULARY)

    def states(strategy: Any, devices: int) -> float:
        run = Run(strategy=strategy)
        return memory(architecture, VOCABULARY, number, run, devices).states / number.total

    one, eight = (
        [states(s, n) for s in ("ddp", "zero1", "zero2", "zero3", "fsdp2")] for n in (1, 8)
    )
    assert one == [18, 16, 16, 16, 16]
    assert eight == [18, 5.5, 3.75, 2, 2]


STEP = """
import re, sys, torch
from fedward_server.pretraining.architectures import Architecture, build
from fedward_server.pretraining.families import Specials
from fedward_server.pretraining.losses import losses
from fedward_server.pretraining.packed import packed_inputs
a = Architecture.model_validate_json(sys.argv[1])
def taken():
    status = open("/proc/self/status").read()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024
def step(a, vocabulary, rows):
    model = build(a, vocabulary, Specials(0, 1, 2, 3), seed=1)
    optimiser = torch.optim.AdamW(model.parameters(), foreach=False)
    ids = torch.randint(4, vocabulary, (rows, a.context))
    positions = torch.arange(a.context).expand(rows, -1)
    for _ in range(2):
        outputs = model(input_ids=ids, **packed_inputs(a, positions, 0 * positions))
        summed, _ = losses(a, outputs, ids)
        del outputs
        summed.backward()
        optimiser.step()
        optimiser.zero_grad()
step(a.model_copy(update={"hidden": 32, "layers": 1, "context": 16}), 64, 1)
before = taken()
step(a, int(sys.argv[2]), int(sys.argv[3]))
print(taken() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of a process")
def test_a_process_takes_what_is_said_to_a_fifth() -> None:
    vocabulary, rows = 8_192, 4
    architecture = small("llama", hidden=256, layers=5, intermediate=768, context=256)
    run = Run(strategy="ddp", precision="fp32", checkpointing=False, micro_batch=rows)
    said = memory(architecture, vocabulary, counts(architecture, vocabulary), run, devices=1)
    arguments = [architecture.model_dump_json(), str(vocabulary), str(rows)]
    told = subprocess.run(
        [sys.executable, "-c", STEP, *arguments], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) == pytest.approx(said.total, rel=0.2)
