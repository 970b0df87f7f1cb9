"""DeepSeek-V3's way to keep experts equally busy: a bias for each, and no auxiliary loss.

Wang et al. 2024 (arXiv:2408.15664), algorithm 1, as in DeepSeek-V3 (arXiv:2412.19437, section 2.1.2):
after each step an expert that had more than its share of tokens is chosen a little less readily, one
that had less a little more. transformers has the bias and does not move it.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn

from fedward_server.pretraining.architectures import Architecture


class Balancer:
    """Counts which experts tokens go to while the model trains, and moves the biases once a step.

    The biases are buffers of the model, saved with it. Counts are sums over micro-batches and
    processes, so that neither changes what a step does; forward that checkpointing repeats counts
    for all experts alike.
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        self._rate = rate
        self._routers: list[Any] = [
            m for m in model.modules() if hasattr(m, "e_score_correction_bias")
        ]
        self._loads: list[Tensor] = [
            torch.zeros_like(router.e_score_correction_bias, dtype=torch.long)
            for router in self._routers
        ]
        for index, router in enumerate(self._routers):
            router.register_forward_hook(self._counting(index))

    def _counting(self, index: int) -> Any:
        def count(router: nn.Module, _inputs: Any, outputs: tuple[Tensor, Tensor, Tensor]) -> None:
            if router.training:
                load_E = self._loads[index]
                chosen = outputs[2].flatten()
                self._loads[index] = load_E.to(chosen.device) + torch.bincount(
                    chosen, minlength=load_E.numel()
                )

        return count

    @torch.no_grad()
    def step(self) -> Tensor:
        """Moves the biases, on every process alike; gives the loads (layers, experts) of the step."""
        loads_LE = torch.stack(self._loads)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(loads_LE)
        for router, load_E in zip(self._routers, loads_LE, strict=True):
            short_E = load_E.sum() - load_E * load_E.numel()  # > 0: less than its share
            router.e_score_correction_bias += self._rate * short_E.sign()
        self._loads = [torch.zeros_like(load_E) for load_E in loads_LE]
        return loads_LE


def balancer(architecture: Architecture, model: nn.Module) -> Balancer | None:
    """For a model whose experts are balanced by biases; to be made once, before its first step."""
    if architecture.family != "deepseek" or architecture.experts is None:
        return None
    return Balancer(model, architecture.experts.balance)
