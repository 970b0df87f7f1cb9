"""Attention with a window whose cost grows with the window and not with the row.

PyTorch's own attention takes a window as a mask of T × T and computes what it hides. Here a row is cut
into blocks as long as the window reaches, and a block's queries meet their own block's keys, those of
the block before and, in an encoder, of the block after: T · 2w or T · 3w products instead of T · T
(as in Longformer, Beltagy et al. 2020, section 3.2). The result is the same. Whether a row is cut is
the mask's to say, which :func:`window_mask` makes; with any other mask the attention is PyTorch's.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from fedward_server.pretraining.architectures import Architecture

NAME = "windowed_sdpa"


def window_mask(architecture: Architecture, documents_BT: Tensor) -> Tensor:
    """Whom a token sees through the window of its own document.

    Bool (B, N, w, S), a block's rows and the columns that it sees, where the row is cut into N blocks
    (`Architecture.blocks`); else (B, 1, T, T). A document's tokens are neighbours, so that distance
    in the row is distance in the document.
    """
    length, device = documents_BT.shape[1], documents_BT.device
    block, seen = architecture.blocks(length) or (length, 1)
    before = block if seen > 1 else 0
    count = length // block
    starts_N1 = block * torch.arange(count, device=device)[:, None]
    queries_NW = starts_N1 + torch.arange(block, device=device)
    keys_NS = starts_N1 + torch.arange(seen * block, device=device) - before
    there_NS = (keys_NS >= 0) & (keys_NS < length)
    distance_NWS = queries_NW[:, :, None] - keys_NS[:, None, :]
    if architecture.objective == "causal":
        near_NWS = (distance_NWS >= 0) & (distance_NWS < (architecture.window or length))
    else:
        near_NWS = distance_NWS.abs() <= (architecture.window or 2 * length) // 2
    ours_BNW = documents_BT[:, queries_NW]
    theirs_BNS = documents_BT[:, keys_NS.clamp(0, length - 1)]
    return (ours_BNW[..., :, None] == theirs_BNS[..., None, :]) & near_NWS & there_NS[:, None, :]


def windowed_attention(
    module: nn.Module,
    query_BHTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """An attention of transformers; by blocks where the mask has blocks' rows instead of the row's."""
    rows, heads, length, width = query_BHTD.shape
    if attention_mask is None or attention_mask.shape[2] == length:
        settings = {"dropout": dropout, "scaling": scaling, **others}
        attended: tuple[Tensor, None] = sdpa_attention_forward(
            module, query_BHTD, key_BGTD, value_BGTD, attention_mask, **settings
        )
        return attended
    block = attention_mask.shape[2]
    seen = attention_mask.shape[3] // block
    groups = getattr(module, "num_key_value_groups", 1)
    blocked = F.scaled_dot_product_attention(
        torch.unflatten(query_BHTD, 2, (-1, block)).transpose(1, 2).flatten(0, 1),
        _neighbours(repeat_kv(key_BGTD, groups), block, seen),
        _neighbours(repeat_kv(value_BGTD, groups), block, seen),
        attn_mask=attention_mask.flatten(0, 1).unsqueeze(1),
        dropout_p=dropout,
        scale=scaling,
    )
    return blocked.transpose(1, 2).reshape(rows, length, heads, width), None


def _neighbours(x_BHTD: Tensor, block: int, seen: int) -> Tensor:
    """(B·N, H, seen·w, D): of each block what it sees; zeros before the first and after the last."""
    padded = F.pad(x_BHTD, (0, 0, block, block * (seen - 2)))
    windows_BHNDS = padded.unfold(2, seen * block, block)
    return windows_BHNDS.permute(0, 2, 1, 4, 3).flatten(0, 1)


AttentionInterface.register(NAME, windowed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
