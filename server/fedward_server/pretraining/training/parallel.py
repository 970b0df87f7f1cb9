"""The workers of a training: one process, or as many as torchrun or accelerate started.

Everything goes through Accelerate, so that a strategy is a line of the configuration: FSDP2 shards
parameters, gradients and AdamW's state (Zhao et al. 2023), DDP keeps all of them on each worker. The
same code runs over NCCL on GPUs and over gloo on CPUs.
"""

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
import torch.distributed as dist
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from torch import nn

from fedward_shared.errors import UsageError
from fedward_shared.terms import Terms


class ParallelTerms(Terms):
    """How the workers share a model, and in which numbers they compute.

    `recompute` has activations computed again in the backward pass from the start (Chen et al. 2016); if
    not, the doctor turns to it when memory runs out. `compile` has torch.compile make each layer's code.
    """

    strategy: Literal["fsdp2", "ddp"] = "fsdp2"
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    recompute: bool = False
    compile: bool = False


MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


class Workers:
    """This process among its like. Made once in a process."""

    def __init__(self, terms: ParallelTerms, layers: Sequence[str]) -> None:
        """`layers` are the class names of a model's layers, each of which is sharded as one."""
        sharded = terms.strategy == "fsdp2" and int(os.environ.get("WORLD_SIZE", "1")) > 1
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            auto_wrap_policy="transformer_based_wrap",
            transformer_cls_names_to_wrap=list(layers),
            reshard_after_forward=True,
            cpu_ram_efficient_loading=True,
        )
        self._terms = terms
        self._accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision=MIXED[terms.precision],
            fsdp_plugin=plugin if sharded else None,
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
        return self._accelerator.unwrap_model(model, keep_torch_compile=False)

    @contextmanager
    def accumulating(self, model: Any, last: bool) -> Iterator[None]:
        """Gradients are exchanged after the last micro-batch of a step alone."""
        with nullcontext() if last else self._accelerator.no_sync(model):
            yield

    def computing(self) -> Any:
        """In which the forward pass computes in the precision of the terms."""
        return self._accelerator.autocast()

    def backward(self, loss: torch.Tensor) -> None:
        """Of this worker's part of a sum over all: exchanged gradients are means, so it is scaled."""
        self._accelerator.backward(loss * self.count)

    def clipped(self, model: Any, most: float) -> float:
        """Bounds the norm of the gradient of all workers, and returns what it was."""
        norm = self._accelerator.clip_grad_norm_(model.parameters(), most)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

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


def _layers(model: nn.Module) -> list[nn.Module]:
    """The repeated layers of a model: the members of its longest lists of modules."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    longest = max((len(found) for found in lists), default=0)
    return [layer for found in lists if len(found) == longest for layer in found]
