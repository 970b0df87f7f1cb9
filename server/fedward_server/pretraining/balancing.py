"""Experts without an auxiliary loss: after each step the bias of those that had much to do falls.

DeepSeek-V3 (arXiv:2412.19437, section 2.1.2): the bias is added to a router's scores where experts are
chosen, and no gradient reaches it. transformers has the bias, and leaves its training to others.
"""

from collections.abc import Callable
from typing import Any

import torch


class Balance:
    """Counts the tokens of each expert of `model`, and moves the biases by `speed` after a step."""

    def __init__(self, model: Any, speed: float) -> None:
        self._speed = speed
        self._routers = [
            module for module in model.modules() if hasattr(module, "e_score_correction_bias")
        ]
        self._loads = [torch.zeros_like(self._bias(router)) for router in self._routers]
        for number, router in enumerate(self._routers):
            router.register_forward_hook(self._counting(number))

    def step(self, total: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """After a step; `total` sums a tensor over all workers."""
        for router, load_E in zip(self._routers, self._loads, strict=True):
            all_E = total(load_E)
            self._bias(router).add_(self._speed * torch.sign(all_E.mean() - all_E))
            load_E.zero_()

    def _counting(self, number: int) -> Callable[..., None]:
        def count(router: Any, _inputs: Any, outputs: Any) -> None:
            if router.training:
                chosen = outputs[-1].flatten()
                self._loads[number] += torch.bincount(chosen, minlength=len(self._loads[number]))

        return count

    @staticmethod
    def _bias(router: Any) -> torch.Tensor:
        bias: torch.Tensor = router.e_score_correction_bias
        return bias
