"""Workers that share a model by DeepSpeed's ZeRO, whose engine does what Accelerate does for the others.

Accelerate has DeepSpeed on GPUs alone; asked directly, it runs over gloo on CPUs too.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from fedward_server.pretraining.training.kept import Gathered
from fedward_server.pretraining.training.parallel import ParallelTerms, Workers
from fedward_shared.errors import MissingExtra


class ZeroWorkers(Workers):
    """This process among those that DeepSpeed has."""

    def __init__(self, terms: ParallelTerms, layers: Sequence[str], clipping: float) -> None:
        """Raises MissingExtra without the package."""
        if importlib.util.find_spec("deepspeed") is None:
            raise MissingExtra(
                "parallel.strategy: deepspeed is not installed; "
                "pip install 'fedward-server[deepspeed]', or take \"fsdp2\""
            )
        super().__init__(terms, layers, clipping)

    def prepared(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Its engine, and the optimizer within it."""
        import deepspeed

        config = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,  # the loop counts micro-batches, and scales the loss
            "gradient_clipping": self._clipping,
            "zero_optimization": {"stage": self._terms.zero_stage},
            "zero_allow_untested_optimizer": True,
            self._terms.precision: {"enabled": True},
        }
        deepspeed.init_distributed("nccl" if self.device.type == "cuda" else "gloo")
        engine, inner, _, _ = deepspeed.initialize(
            model=model, optimizer=optimizer, config=config, dist_init_required=False
        )
        return engine, inner

    def bare(self, model: Any) -> Any:
        """The model within the engine."""
        return model.module

    def kept(self, model: Any, optimizer: Any) -> Gathered:
        """What a checkpoint holds, gathered from all workers."""
        return Gathered(self.bare(model), optimizer)

    @contextmanager
    def accumulating(self, model: Any, last: bool) -> Iterator[None]:
        """Has the engine know whether a step follows."""
        model.set_gradient_accumulation_boundary(last)
        yield

    def computing(self) -> Any:
        """The engine has the model in its precision."""
        return nullcontext()

    def backward(self, model: Any, loss: torch.Tensor) -> None:
        """As the others': the engine exchanges means."""
        model.backward(loss * self.count)

    def updated(self, model: Any, _optimizer: Any) -> float:
        """As the others': the engine clips, steps and forgets."""
        model.step()
        return float(model.get_global_grad_norm())

    def forget(self, model: Any, _optimizer: Any) -> None:
        """As the others'."""
        model.zero_grad()
