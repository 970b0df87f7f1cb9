"""HetLoRA (Cho et al. 2024, "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation
Models"): each site has a rank of its own. It gets the first rows of A and columns of B, and drops the
last of them again where they have come to little; its factors are padded with zeros and weighted by
‖B·A‖, so that sites which learnt more say more.

All of it looks at factors that carry their noise already, never at records.
"""

import torch

from fedward_shared.adapters.averaging import Averaging, Values, factors, head, products, trained
from fedward_shared.tensors import Tensors

WEIGHT = "weight"
TINY = 1e-12
LEAST_WEIGHT = 1e-6
"""Of a site whose products are zero: all of them being so, the mean is the plain one."""


KEPT = 0.99
"""The part of a site's rank that is never dropped, rounded down."""

PENALTY = 5e-3
"""On ‖A‖·‖B‖ of the rest, as in the paper."""


class HetLoRA(Averaging):
    """A and B become the weighted mean of the padded factors; the head's mean is the plain one."""

    def drift(self, values: Values) -> Tensors:
        """The gradient of the penalty on each pair's last directions."""
        gradients: Tensors = {}
        for a, b, _ in factors(values):
            last = slice(int(KEPT * len(values[a])), None)
            a_LI, b_OL = values[a].detach()[last], values[b].detach()[:, last]
            for name, own, other in ((a, a_LI, b_OL), (b, b_OL, a_LI)):
                gradient = torch.zeros_like(values[name])
                place = last if name == a else (slice(None), last)
                gradient[place] = PENALTY * other.norm() * own / own.norm().clamp_min(TINY)
                gradients[name] = gradient
        return gradients

    def finished(self, before: Values, after: Values) -> Tensors:
        """The change, or, of last directions whose product has shrunk, all that takes them to zero."""
        update = super().finished(before, after)
        for a, b, _ in factors(after):
            last = slice(int(KEPT * len(after[a])), None)
            then, now = (v[b][:, last] @ v[a][last] for v in (before, after))
            if now.norm() < then.norm():
                update[a][last] = -before[a][last]
                update[b][:, last] = -before[b][:, last]
        return update

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
