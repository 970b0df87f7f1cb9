"""Rows through a model: what it is given of them, and what is taken of its scores."""

from typing import Any

import torch

from fedward_server.pretraining.architectures import Architecture
from fedward_server.pretraining.corpus.objectives import Batch
from fedward_server.pretraining.losses import IGNORED, Losses, losses
from fedward_server.pretraining.packed import packed_inputs

HEADS = {"bert": "cls", "modernbert": "head", "longformer": "lm_head"}
"""Of a masked model, the module after its layers. It makes scores where something is predicted alone."""


class Forward:
    """The losses of a batch, for one architecture on one device."""

    def __init__(self, architecture: Architecture, device: torch.device) -> None:
        self._architecture, self._device = architecture, device
        self._predicted_BT: torch.Tensor | None = None

    def attached(self, model: Any) -> Any:
        """`model`, whose head from now on is given the places alone where a token is predicted.

        Of a masked model that is one in seven, and its head is the largest of its matrices.
        """
        if self._architecture.family in HEADS:
            head = getattr(model, HEADS[self._architecture.family])
            head.register_forward_pre_hook(self._chosen)
        return model

    def __call__(self, model: Any, batch: Batch) -> Losses:
        """Of `model` as `attached` returned it, or as a strategy has wrapped that."""
        labels = batch.labels.to(self._device)
        inputs = self._inputs(batch)
        if self._architecture.family in HEADS:
            self._predicted_BT = labels != IGNORED
            labels = labels[self._predicted_BT]
        outputs = model(**inputs)
        summed, auxiliary = losses(self._architecture, outputs, labels)
        right: torch.Tensor | int = 0
        if not model.training:
            right = (outputs.logits.argmax(-1) == labels).sum()
        return Losses(summed, auxiliary, right)

    def _chosen(self, _head: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden_BTD, *others = arguments
        assert self._predicted_BT is not None
        return (hidden_BTD[self._predicted_BT], *others)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(self._device, non_blocking=True)

        targets = batch.decoder_documents_BU
        documents = packed_inputs(
            self._architecture,
            moved(batch.positions_BT),
            moved(batch.documents_BT),
            None if targets is None else moved(targets),
        )
        inputs = {"input_ids": moved(batch.tokens_BT), **documents}
        if batch.decoder_tokens_BU is not None:
            inputs["decoder_input_ids"] = moved(batch.decoder_tokens_BU)
        return inputs
