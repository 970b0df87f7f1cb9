"""HetLoRA (Cho et al. 2024, "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation
Models"): each site has a rank of its own. It gets the first rows of A and columns of B; its factors are
padded with zeros and weighted by ‖B·A‖, so that sites which learnt more say more."""

import torch

from fedward_shared.adapters.averaging import Averaging, Values, factors, head, products, trained
from fedward_shared.tensors import Tensors

WEIGHT = "weight"
LEAST_WEIGHT = 1e-6
"""Of a site whose products are zero: all of them being so, the mean is the plain one."""


class HetLoRA(Averaging):
    """A and B become the weighted mean of the padded factors; the head's mean is the plain one."""

    def part(self, start: Values, update: Values) -> Tensors:
        """The site's padded factors times its weight, the weight itself, and its head."""
        pairs = factors(update)
        if not pairs:
            return dict(update)
        learnt = sum(p.double().square().sum() for p in products(start, update).values())
        weight = torch.as_tensor(learnt).sqrt().float() + LEAST_WEIGHT
        parts = head(update)
        for name in [name for a, b, _ in pairs for name in (a, b)]:
            padded = torch.zeros_like(start[name])
            part = trained(start, update, name)
            padded[tuple(slice(size) for size in part.shape)] = weight * part
            parts[name] = padded
        return {**parts, WEIGHT: weight.reshape(1)}

    def change(self, start: Values, mean: Values) -> Tensors:
        """From where the round started to the weighted mean."""
        change = head(mean)
        for name in [name for a, b, _ in factors(mean) for name in (a, b)]:
            change[name] = mean[name] / mean[WEIGHT] - start[name]
        return change
