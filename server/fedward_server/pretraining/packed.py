"""Rows of several documents, so that no document sees another: what each family takes for it.

Found by running transformers 5.23 with PyTorch's own attention (`sdpa`): a decoder finds the borders
in `position_ids` that begin anew, if it is given neither a mask nor a cache; an encoder takes a mask of
four dimensions as it is; a layer with a window takes one cut into blocks (`windowed`); T5 would use the
encoder's mask for the cross attention too, and has to be told the two apart
(:class:`T5ForConditionalGeneration`); Longformer takes a row of one document.
"""

from typing import TYPE_CHECKING, Any

from transformers.models.t5 import modeling_t5

from fedward_server.pretraining import windowed

if TYPE_CHECKING:
    from torch import Tensor

    from fedward_server.pretraining.architectures import Architecture
    from fedward_server.pretraining.families import FamilyName


class T5ForConditionalGeneration(modeling_t5.T5ForConditionalGeneration):  # type: ignore[misc]
    """T5 whose cross attention has a mask of its own; its name is what a saved model is loaded by."""

    def forward(
        self, input_ids: "Tensor | None" = None, cross_attention_mask: Any = None, **inputs: Any
    ) -> Any:
        """As T5's; `cross_attention_mask` (B, 1, U, T): whom a decoder's token sees of the encoder's."""
        if cross_attention_mask is not None:
            inputs["encoder_outputs"] = self.encoder(
                input_ids=input_ids, attention_mask=inputs.get("attention_mask")
            )
            inputs["attention_mask"] = cross_attention_mask
        return super().forward(input_ids=input_ids, **inputs)


CLASSES: "dict[FamilyName, Any]" = {"t5": T5ForConditionalGeneration}
"""Where the model's class is ours instead of transformers'; tensors and names are the same."""


def packed_inputs(
    architecture: "Architecture",
    positions_BT: "Tensor",
    documents_BT: "Tensor",
    targets_BU: "Tensor | None" = None,
) -> "dict[str, Any]":
    """What `model(input_ids=..., **these)` needs so that attention stays within a document.

    `positions_BT`: of each token in its document, from 0. `documents_BT`: which document of the row a
    token is of. `targets_BU`: the same for the decoder's tokens, of a model that has both. Masks are
    made on the device of what is given; make them where the model is, they have T² entries.

    Longformer's rows have one document: what is not of the row's first is padding.
    """
    match architecture.family:
        case "bert":
            return {"position_ids": positions_BT, "attention_mask": _same(documents_BT)}
        case "modernbert":
            masks = {
                "full_attention": _same(documents_BT),
                "sliding_attention": windowed.window_mask(architecture, documents_BT),
            }
            return {"position_ids": positions_BT, "attention_mask": masks}
        case "longformer":
            first_BT = (documents_BT == documents_BT[:, :1]).long()
            global_BT = first_BT.new_zeros(first_BT.shape)
            global_BT[:, 0] = 1
            return {"attention_mask": first_BT, "global_attention_mask": global_BT}
        case "t5":
            if targets_BU is None:
                raise ValueError("t5: the documents of the decoder's tokens are missing")
            causal_UU = _distance(targets_BU) <= 0
            return {
                "attention_mask": _same(documents_BT),
                "decoder_attention_mask": _same(targets_BU) & causal_UU,
                "cross_attention_mask": _same(targets_BU, documents_BT),
                "use_cache": False,
            }
        case _:
            return _of_a_decoder(architecture, positions_BT, documents_BT)


def _of_a_decoder(
    architecture: "Architecture", positions_BT: "Tensor", documents_BT: "Tensor"
) -> "dict[str, Any]":
    given: dict[str, Any] = {"position_ids": positions_BT, "use_cache": False}
    if architecture.window is not None:
        given["attention_mask"] = windowed.window_mask(architecture, documents_BT)
    if architecture.family == "mixtral":
        given["output_router_logits"] = True
    return given


def _same(queries_BT: "Tensor", keys_BS: "Tensor | None" = None) -> "Tensor":
    """Bool (B, 1, T, S): whether a query's and a key's document are the same."""
    keys_BS = queries_BT if keys_BS is None else keys_BS
    return queries_BT[:, None, :, None] == keys_BS[:, None, None, :]


def _distance(documents_BT: "Tensor") -> "Tensor":
    """(T, T): how far a key (column) is after a query (row)."""
    import torch

    index_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    return index_T[None, :] - index_T[:, None]
