"""From the updates of a round to the tensors that the next one starts from; the plain mean is one way.

All of it is computed from what sites have sent under their own privacy, so it costs none.
"""

from collections.abc import Mapping

import torch

from fedward_shared import names
from fedward_shared.tensors import Tensors

Values = Mapping[str, torch.Tensor]


class Averaging:
    """The mean of the updates is the change of the study's tensors.

    At a site, `drift` enters each step and `finished` is what it sends; neither looks at a record. At
    the coordinator, `start` are all tensors of the study as the round handed them out, and `update` is
    what one site has changed of those that train. It adds up `part` of each update, in whatever order
    they arrive, and keeps no other trace of them.
    """

    def drift(self, values: Values) -> Tensors:
        """The gradient of what the method adds to a site's loss, at these values of what trains."""
        del values
        return {}

    def finished(self, before: Values, after: Values) -> Tensors:
        """What a site sends of a round that it began and ended with these values."""
        return {name: after[name] - before[name] for name in after}

    def part(self, start: Values, update: Values) -> Tensors:
        """What of a site's update enters the mean."""
        del start
        return dict(update)

    def change(self, start: Values, mean: Values) -> Tensors:
        """From the mean of the parts: the change that the server's optimiser acts on."""
        del start
        return dict(mean)

    def close(
        self, start: Values, mean: Values, stepped: Tensors, optimizer: Tensors
    ) -> tuple[Tensors, Tensors]:
        """What the next round hands out, and the optimiser's state that goes with it.

        `stepped` is what the optimiser has made of the tensors that this round handed out.
        """
        del start, mean
        return stepped, optimizer


def factors(values: Values) -> list[tuple[str, str, str]]:
    """Names of each A among `values`, of the B beside it, and of the change of their weight."""
    return [
        (name, name.replace(names.A_MARK, names.B_MARK), names.moved_name(name))
        for name in sorted(values)
        if names.part_of(name) == "A"
    ]


def products(start: Values, update: Values) -> Tensors:
    """B·A of each adapted weight after `update`, under the name of the weight's change.

    The update's rank may be lower than the start's: the site has the first rows of A.
    """
    found = {}
    for a, b, moved in factors(update):
        after_a, after_b = trained(start, update, a), trained(start, update, b)
        found[moved] = after_b @ after_a
    return found


def trained(start: Values, update: Values, name: str) -> torch.Tensor:
    """The tensor `name` as the site had it after training."""
    change = update[name]
    return start[name][tuple(slice(size) for size in change.shape)] + change


def head(values: Values) -> Tensors:
    """The head's tensors among `values`."""
    return {name: tensor for name, tensor in values.items() if names.part_of(name) == "head"}


def at_rank(values: Values, rank: int) -> Tensors:
    """`values` as a site of this rank has them: the first rows of A and columns of B."""
    return {
        name: tensor[tuple(map(slice, names.at_rank(name, tuple(tensor.shape), rank)))]
        for name, tensor in values.items()
    }
