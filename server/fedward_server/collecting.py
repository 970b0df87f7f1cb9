"""Where the updates of a round go as they arrive, and what becomes of them."""

from pathlib import Path
from typing import Protocol

import torch

from fedward_server.fold import Fold
from fedward_server.layout import Layout, Row, check_norm
from fedward_server.robust import Spool
from fedward_shared import adapters
from fedward_shared.charter import Charter
from fedward_shared.errors import AdapterError
from fedward_shared.names import METHODS
from fedward_shared.tensors import Tensors

PART_BITS = 32
LARGEST_PART = 2.0**30
FRESH_WEIGHT = 100
"""With a buffer, of an update that was made from the newest adapter."""


class Collector(Protocol):
    """The updates of a round."""

    def add(self, site: str, row: Row, weight: int) -> None:
        """Takes the update of `site` [D]. Raises AdapterError, having taken nothing."""

    def mean(self) -> Tensors:
        """One update of all, float32; nothing is added after it."""


class Parts:
    """Of each update its part in the mean, where that is more than the update (`adapters.Averaging`).

    `start` are all tensors of the study as the round handed them out. Products of factors have no bound
    in the charter, so they are added as 64-bit integers in multiples of 2⁻³².
    """

    def __init__(self, charter: Charter, layout: Layout, start: Tensors) -> None:
        self._charter = charter
        self._layout = layout
        self._start = start
        self._averaging = adapters.averaging(charter.adapter.method)
        self._sums: Tensors = {}
        self._total_weight = 0

    def add(self, site: str, row: Row, weight: int) -> None:
        """As `Collector` says."""
        origin = f"update of {site}"
        check_norm(row, self._charter.aggregation.maximum_update_norm, origin)
        layout = self._layout.at_rank(self._charter.adapter_at(site).rank)
        part = self._averaging.part(self._start, layout.named(row))
        limit = LARGEST_PART / self._charter.total_weight
        if not all(float(tensor.abs().max()) <= limit for tensor in part.values()):
            raise AdapterError(f"{origin}: the products of its factors are beyond {limit:g}")
        for name, tensor in part.items():
            fixed = torch.round(tensor.double() * 2.0**PART_BITS).to(torch.int64)
            self._sums[name] = self._sums.get(name, torch.zeros_like(fixed)) + weight * fixed
        self._total_weight += weight

    def mean(self) -> Tensors:
        """The mean of the parts. Raises ZeroDivisionError before anything was added."""
        scale = 1.0 / (2.0**PART_BITS * self._total_weight)
        return {name: (total.double() * scale).float() for name, total in self._sums.items()}


def collector(charter: Charter, layout: Layout, start: Tensors, folder: Path) -> Collector:
    """The one for the charter's rule and adapter method.

    `start` are all tensors of the study as the round hands them out; `folder` is the coordinator's, for
    updates that have to wait.
    """
    terms = charter.aggregation
    if METHODS[charter.adapter.method].each:
        return Parts(charter, layout, start)
    if terms.rule == "mean":
        buffered = terms.buffer and terms.buffer * FRESH_WEIGHT
        return Fold(layout, terms.maximum_update_norm, buffered or charter.total_weight)
    return Spool(layout, terms.maximum_update_norm, terms.rule, terms.hostile, folder)
