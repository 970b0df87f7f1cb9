"""FedEx-LoRA (Singhal et al. 2025, "FedEx-LoRA: Exact Aggregation for Federated and Efficient
Fine-Tuning"): A and B are averaged, and what the mean of the products has beyond the product of the
means is added to the frozen weight."""

from fedward_shared import names
from fedward_shared.adapters.averaging import Averaging, Values, factors, products, trained
from fedward_shared.tensors import Tensors


class FedEx(Averaging):
    """The model that a round ends with is the mean of the sites' models, exactly.

    A server's optimiser other than the plain mean moves A and B; what is added to the frozen weight
    stays what the plain mean lacks.
    """

    def part(self, start: Values, update: Values) -> Tensors:
        """The update, and the site's B·A."""
        return {**update, **products(start, update)}

    def change(self, start: Values, mean: Values) -> Tensors:
        """That of A, B and head."""
        del start
        return {n: tensor for n, tensor in mean.items() if names.part_of(n) != "moved"}

    def close(
        self, start: Values, mean: Values, stepped: Tensors, optimizer: Tensors
    ) -> tuple[Tensors, Tensors]:
        """The frozen weights get what the means of A and B do not say."""
        state = dict(stepped)
        for a, b, moved in factors(mean):
            of_means = trained(start, mean, b) @ trained(start, mean, a)
            state[moved] = stepped[moved] + (mean[moved] - of_means)
        return state, optimizer
