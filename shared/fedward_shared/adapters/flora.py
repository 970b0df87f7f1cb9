"""FLoRA (Wang et al. 2024, "FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous
Low-Rank Adaptations"): the sites' factors are stacked, whatever their ranks, and the product of the
stacks is merged into the frozen weight. Every round starts with fresh factors.

The product of the stacks [B₁ … Bₙ]·[A₁; …; Aₙ] is the sum of the products, so it is added up as updates
arrive and no stack is ever held.
"""

from fedward_shared.adapters.averaging import Averaging, Values, head, products
from fedward_shared.tensors import Tensors


class FLoRA(Averaging):
    """What changes is the frozen weight, by the mean of the sites' B·A."""

    def part(self, start: Values, update: Values) -> Tensors:
        """The site's B·A, and its head."""
        return {**head(update), **products(start, update)}
