"""The workers of a training: one process, or as many as torchrun or accelerate started.

A strategy is a line of the configuration. Through Accelerate, FSDP2 shards parameters, gradients and
AdamW's state (Zhao et al. 2023), and DDP keeps all of them on each worker; DeepSpeed shards as much as
its ZeRO stage says (Rajbhandari et al. 2020). The same code runs over NCCL and over gloo.
"""

import math
import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Annotated, Any, Literal

import torch
import torch.distributed as dist

# accelerate imports DeepSpeed, which warns of a machine without GPU.
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

from accelerate import Accelerator, FullyShardedDataParallelPlugin, InitProcessGroupKwargs
from pydantic import Field
from torch import nn

from fedward_server.pretraining.training.kept import Gathered, Live
from fedward_server.pretraining.training.launched import check_store, worker_count
from fedward_shared.errors import UsageError
from fedward_shared.terms import Terms


class ParallelTerms(Terms):
    """How the workers share a model, and in which numbers they compute.

    `recompute` has activations computed again in the backward pass from the start (Chen et al. 2016); if
    not, the doctor turns to it when memory runs out. `compile` has torch.compile make each layer's code.
    `zero_stage` is DeepSpeed's; what its stage 3 does, FSDP2 does. After `patience` seconds in which one
    does not answer the others end, and whoever started them begins again.
    """

    strategy: Literal["fsdp2", "ddp", "deepspeed"] = "fsdp2"
    zero_stage: Literal[1, 2] = 2
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    recompute: bool = False
    compile: bool = False
    patience: Annotated[float, Field(ge=10)] = 1_800


MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


class Workers:
    """This process among its like. Made once in a process."""

    def __init__(self, terms: ParallelTerms, layers: Sequence[str], clipping: float) -> None:
        """`layers` are the class names of a model's layers, each of which is sharded as one.

        Raises UsageError for a precision that this machine has not.
        """
        if terms.precision == "fp16" and not torch.cuda.is_available():
            raise UsageError("parallel.precision: fp16 needs a GPU; take bf16 or fp32")
        sharded = worker_count() > 1 and terms.strategy == "fsdp2"
        self._terms, self._clipping = terms, clipping
        self._accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision=MIXED[terms.precision],
            fsdp_plugin=_fsdp2(layers) if sharded else None,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=terms.patience))],
        )
        self.rank: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device

    @property
    def first(self) -> bool:
        """Whether this is the one that tells people and writes what there is one of."""
        return self.rank == 0

    def share_of(self, rows: int) -> slice:
        """Which of a step's rows are this worker's. Raises UsageError if they do not come out even."""
        if rows % self.count:
            fits = rows - rows % self.count or self.count
            raise UsageError(
                f"schedule.batch: {rows} rows cannot be shared evenly by {self.count} workers; "
                f"{fits} can, or another number of workers"
            )
        own = rows // self.count
        return slice(self.rank * own, (self.rank + 1) * own)

    def prepared(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """The model and its optimizer as this strategy has them."""
        if self._terms.compile:
            for layer in _layers(model):
                layer.compile()
        ours: tuple[Any, Any] = self._accelerator.prepare(model, optimizer)
        return ours

    def bare(self, model: Any) -> Any:
        """The model within what `prepared` put around it."""
        if self.count == 1:
            return model  # nothing is put around it, and accelerate would import DeepSpeed to look
        return self._accelerator.unwrap_model(model, keep_torch_compile=False)

    def kept(self, model: Any, optimizer: Any) -> Live | Gathered:
        """What a checkpoint holds of what `prepared` returned."""
        return Live(self.bare(model), optimizer)

    @contextmanager
    def accumulating(self, model: Any, last: bool) -> Iterator[None]:
        """Gradients are exchanged after the last micro-batch of a step alone."""
        with nullcontext() if last else self._accelerator.no_sync(model):
            yield

    def computing(self) -> Any:
        """In which the forward pass computes in the precision of the terms."""
        return self._accelerator.autocast()

    def backward(self, _model: Any, loss: torch.Tensor) -> None:
        """Of this worker's part of a sum over all: exchanged gradients are means, so it is scaled."""
        self._accelerator.backward(loss * self.count)

    def updated(self, model: Any, optimizer: Any) -> float:
        """Takes a step along the gradient of all workers, bounded in norm; returns what its norm was.

        A gradient that is not finite moves nothing. In fp16 that is an overflow: the scaler takes
        another scale, and the norm is told as 0.
        """
        norm = self._accelerator.clip_grad_norm_(model.parameters(), self._clipping)
        found = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        scaled = self._accelerator.scaler is not None
        if math.isfinite(found) or scaled:
            optimizer.step()
        optimizer.zero_grad()
        return 0.0 if scaled and not math.isfinite(found) else found

    def forget(self, _model: Any, optimizer: Any) -> None:
        """Drops the gradients that are there."""
        optimizer.zero_grad()

    def total(self, *values: float) -> list[float]:
        """The sums of `values` over all workers."""
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        return [float(value) for value in sums]

    def least(self, value: int) -> int:
        """The smallest of the workers' values."""
        if self.count == 1:
            return value
        found = torch.tensor(value, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MIN)
        return int(found)

    def memory(self) -> int:
        """The most bytes that this worker's device held so far; of a CPU, the process."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def end(self) -> None:
        """Leaves the process group, where there is one."""
        self._accelerator.end_training()


def workers(terms: ParallelTerms, layers: Sequence[str], clipping: float) -> Workers:
    """This process as the strategy of `terms` has it.

    Raises MissingExtra where DeepSpeed is not, and UsageError where workers that begin again could not
    find each other.
    """
    check_store()
    if terms.strategy == "deepspeed" and worker_count() > 1:
        from fedward_server.pretraining.training.zero import ZeroWorkers

        return ZeroWorkers(terms, layers, clipping)
    return Workers(terms, layers, clipping)


def _fsdp2(layers: Sequence[str]) -> FullyShardedDataParallelPlugin:
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=list(layers),
        reshard_after_forward=True,
        cpu_ram_efficient_loading=True,
    )


def _layers(model: nn.Module) -> list[nn.Module]:
    """The repeated layers of a model: the members of its longest lists of modules."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    longest = max((len(found) for found in lists), default=0)
    return [layer for found in lists if len(found) == longest for layer in found]
