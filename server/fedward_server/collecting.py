"""Where the updates of a round go as they arrive, and what becomes of them."""

from pathlib import Path
from typing import Protocol

from fedward_server.fold import Fold
from fedward_server.layout import Layout, Row
from fedward_server.robust import Spool
from fedward_shared.charter import Charter
from fedward_shared.tensors import Tensors

FRESH_WEIGHT = 100
"""With a buffer, of an update that was made from the newest adapter."""


class Collector(Protocol):
    """The updates of a round."""

    def add(self, site: str, row: Row, weight: int) -> None:
        """Takes the update of `site` [D]. Raises AdapterError, having taken nothing."""

    def mean(self) -> Tensors:
        """One update of all, float32; nothing is added after it."""


def collector(charter: Charter, layout: Layout, folder: Path) -> Collector:
    """The one for the charter's rule. `folder` is the coordinator's, for updates that have to wait."""
    terms = charter.aggregation
    if terms.rule == "mean":
        buffered = terms.buffer and terms.buffer * FRESH_WEIGHT
        return Fold(layout, terms.maximum_update_norm, buffered or charter.total_weight)
    return Spool(layout, terms.maximum_update_norm, terms.rule, terms.hostile, folder)
