"""Whether a training fits the machine that it runs on, and what would."""

from typing import Any

from fedward_server.pretraining import hardware, planning
from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.memory import Run
from fedward_server.pretraining.training.launched import local_count, worker_count
from fedward_shared.errors import ModelError

UNKNOWN = 0.001
"""TFLOP/s of a device that is in no table: no utilisation is told of it."""


def check_size(terms: Pretraining, vocabulary: int) -> None:
    """Raises ModelError for a model that does not fit this machine, and says what would."""
    planned = planning.plan(
        "the model", terms.model, vocabulary, here(worker_count()), run_of(terms, worker_count())
    )
    own = run_of(terms, worker_count())
    sparing = own.model_copy(update={"micro_batch": 1, "checkpointing": True})
    if terms.schedule.micro_batch == "most" and terms.parallel.strategy == "fsdp2":
        planned = planning.plan("the model", terms.model, vocabulary, planned.cluster, sparing)
    if (said := planning.told(planned)) is not None:
        raise ModelError(said)


def here(count: int) -> hardware.Cluster:
    """What this training runs on, with so many workers; a peak of 0.001 TFLOP/s is an unknown one."""
    import torch

    if not torch.cuda.is_available():
        own, local = hardware.this_machine(), local_count()
        return own.model_copy(
            update={"devices": count, "memory": own.memory / local, "peak": own.peak / local}
        )
    held = torch.cuda.get_device_properties(0)
    known = [
        peak for name, (_, peak) in hardware.DEVICES.items() if name.split("-")[0] in held.name
    ]
    return hardware.Cluster(
        devices=count, memory=held.total_memory / 1e9, peak=known[0] if known else UNKNOWN
    )


def run_of(terms: Pretraining, devices: int) -> Run:
    """How the training runs on so many devices, as the plan takes it."""
    asked = terms.schedule.micro_batch
    return Run(
        strategy=_planned_strategy(terms, devices),
        precision=terms.parallel.precision,
        checkpointing=terms.parallel.recompute,
        micro_batch=1 if asked == "most" else asked,
    )


def _planned_strategy(terms: Pretraining, devices: int) -> Any:
    if devices == 1:
        return "ddp"
    if terms.parallel.strategy == "deepspeed":
        return f"zero{terms.parallel.zero_stage}"
    return terms.parallel.strategy
