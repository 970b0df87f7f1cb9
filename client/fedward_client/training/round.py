"""One round at a site: the model as the coordinator hands it out, trained on the site's records."""

from collections.abc import Callable
from pathlib import Path

import torch

from fedward_client.core import Grant, Offer
from fedward_client.training.trainer import train
from fedward_shared import adapters, tasks, tensors
from fedward_shared import sketch as sketches
from fedward_shared.charter import Charter
from fedward_shared.errors import DataError
from fedward_shared.privacy import clipping
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tasks.examples import Examples
from fedward_shared.tasks.prepared import prepared


class Training:
    """Made of what the site offers and the global adapter (safetensors), before anything is booked.

    Raises AdapterError, CharterError or ModelError: all that can fail without the records.
    """

    def __init__(self, offer: Offer, adapter: bytes) -> None:
        self._offer = offer
        torch.set_num_threads(offer.threads)
        charter = offer.charter
        own = charter.adapter_at(offer.site)
        self._model = tasks.build(offer.base_model, charter.task, own)
        initial = tensors.decode(offer.initial, "initial tensors")
        received = tensors.decode(adapter, "global adapter")
        tensors.check(received, charter.handed_out(tensors.schema_of(initial)), "global adapter")
        self._model.load(adapters.at_rank(initial, own.rank), "initial tensors")
        self._model.load(adapters.at_rank(received, own.rank), "global adapter")

    def run(self, granted: Grant, randomness: Callable[[str], Randomness]) -> tuple[bytes, str]:
        """Safetensors of what the round that was granted changed, and the clipping norms it ended with.

        Raises DataError for records that cannot be used, AdapterError where training diverges.
        """
        offer, charter, number = self._offer, self._offer.charter, granted.round
        self._model.enter_round(number, charter.training)
        examples = prepared(
            self._model,
            charter.base_model.digest,
            offer.data,
            offer.columns,
            offer.cache,
            offer.owner,
            offer.left_out,
            granted.file,
        )
        _check_classes(examples, charter, offer.data)
        before, sketch = self._model.exchanged(), sketches.of(charter, number)
        norms = clipping.read_norms(granted.norms)
        exact = train(
            self._model,
            examples,
            charter.plan(offer.site),
            charter.training,
            # A simulation seeds by this label: its studies draw alike, so that they compare in pairs.
            lambda purpose: randomness(f"{offer.site} {number} {purpose}"),
            _no_progress,
            norms=norms,
            masks=sketch.masks(tensors.schema_of(before)) if sketch else {},
        )
        averaging = adapters.averaging(charter.adapter.method)
        change = averaging.finished(before, self._model.exchanged()) | exact
        if sketch:
            change = sketch.taken(change)
        return tensors.encode(change), clipping.norms_text(norms)


def _check_classes(examples: Examples, charter: Charter, path: Path) -> None:
    if not charter.task.has_head or not examples.single_class:
        return
    if charter.task.kind == "token-classification":
        raise DataError(f"{path}: no record has an entity that can be told from other tokens")
    raise DataError(f"{path}: all records have the same label")


def _no_progress(_done: int, _of: int) -> None:
    """A deployed site's progress is in its log."""
