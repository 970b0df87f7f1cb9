"""Adapters: the tensors that peft puts beside frozen weights, and what is made of the sites' updates.

`layers` puts them into a model, `directions` says where they start, `plain` writes them as peft reads
them. What a round trains and sends is in `fedward_shared.names`; what the coordinator makes of it is an
`Averaging`, one file for each method that does more than take a mean:

    fedsvd      turns A and B to the principal directions of B·A after each round
    fedex       keeps what the mean of the products has beyond the product of the means
    flora       merges all sites' products into the frozen weights
    hetlora     weighs sites of several ranks by what they have learnt
"""

from fedward_shared.adapters.averaging import Averaging, at_rank
from fedward_shared.adapters.directions import Moments, initial
from fedward_shared.adapters.fedex import FedEx
from fedward_shared.adapters.fedsvd import FedSVD
from fedward_shared.adapters.flora import FLoRA
from fedward_shared.adapters.hetlora import HetLoRA
from fedward_shared.adapters.layers import adapter_tensors, attach, settle, train
from fedward_shared.adapters.plain import save_peft

_OWN: dict[str, Averaging] = {
    "fedsvd": FedSVD(),
    "fedex-lora": FedEx(),
    "flora": FLoRA(),
    "hetlora": HetLoRA(),
}


def averaging(method: str) -> Averaging:
    """What the coordinator does between rounds under this adapter method."""
    return _OWN.get(method, Averaging())


__all__ = [
    "Averaging",
    "Moments",
    "adapter_tensors",
    "at_rank",
    "attach",
    "averaging",
    "initial",
    "save_peft",
    "settle",
    "train",
]
