"""Attention by blocks is PyTorch's, where it is used and where it is not, and it does less."""

from typing import Any

import pytest
import torch
from server.pretraining.small import SPECIALS, VOCABULARY, small
from torch.utils.flop_counter import FlopCounterMode

from fedward_server.pretraining import windowed
from fedward_server.pretraining.architectures import Architecture, build
from fedward_server.pretraining.families import FamilyName
from fedward_server.pretraining.packed import packed_inputs

FAMILIES: tuple[FamilyName, ...] = ("mistral", "modernbert")


def run(family: FamilyName, length: int, *, cut: bool) -> tuple[torch.Tensor, dict[str, Any]]:
    """Logits of two rows of three documents, and the gradients of all parameters."""
    architecture = small(family, context=40)
    model = build(architecture, VOCABULARY, SPECIALS, seed=1)
    documents_BT = torch.tensor([[0, 1, 1], [0, 0, 1]]).repeat_interleave(length // 3 + 1, 1)
    documents_BT = documents_BT[:, :length]
    changes_BT = documents_BT.diff(dim=1, prepend=documents_BT[:, :1]).bool()
    index_T = torch.arange(length)
    positions_BT = index_T - (changes_BT * index_T).cummax(1).values
    ids_BT = torch.randint(4, VOCABULARY, (2, length), generator=torch.Generator().manual_seed(1))
    given = packed_inputs(architecture, positions_BT, documents_BT)
    if not cut:
        model.set_attn_implementation("sdpa")
        given["attention_mask"] = whole_masks(architecture, documents_BT)
    logits_BTV = model(input_ids=ids_BT, **given).logits
    logits_BTV.square().sum().backward()
    return logits_BTV, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def whole_masks(architecture: Architecture, documents_BT: torch.Tensor) -> Any:
    """What the document says of a window, by itself."""
    index_T = torch.arange(documents_BT.shape[1])
    distance_TT = index_T[:, None] - index_T
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    if architecture.family == "modernbert":
        near_B1TT = (same_BTT & (distance_TT.abs() <= 2))[:, None]
        return {"full_attention": same_BTT[:, None], "sliding_attention": near_B1TT}
    return (same_BTT & (distance_TT >= 0) & (distance_TT < 4))[:, None]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [40, 39, 5])
def test_it_gives_what_the_whole_mask_gives(family: FamilyName, length: int) -> None:
    ours, our_gradients = run(family, length, cut=True)
    whole, gradients = run(family, length, cut=False)
    torch.testing.assert_close(ours, whole, atol=1e-5, rtol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_cut_where_blocks_divide_them_and_something_is_gained(family: FamilyName) -> None:
    architecture = small(family, context=40)
    block, seen = (2, 3) if family == "modernbert" else (4, 2)
    assert architecture.blocks(40) == (block, seen)
    assert architecture.blocks(39) is None
    assert architecture.blocks(block * seen) is None
    documents_BT = torch.zeros(2, 40, dtype=torch.long)
    cut = windowed.window_mask(architecture, documents_BT)
    assert cut.shape == (2, 40 // block, block, seen * block)
    assert windowed.window_mask(architecture, documents_BT[:, :39]).shape == (2, 1, 39, 39)


@pytest.mark.parametrize("family", FAMILIES)
def test_products_and_masks_grow_with_the_row_and_not_with_its_square(family: FamilyName) -> None:
    architecture = small(family, context=512)
    block, seen = architecture.blocks(512) or (0, 0)

    def of(length: int) -> tuple[int, int]:
        mask = windowed.window_mask(architecture, torch.zeros(1, length, dtype=torch.long))
        x_BHTD = torch.randn(1, 2, length, 4, requires_grad=True)
        math = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with math, FlopCounterMode(display=False) as counter:
            windowed.windowed_attention(torch.nn.Module(), x_BHTD, x_BHTD, x_BHTD, mask)
        return int(counter.get_total_flops()), mask.numel()

    assert of(64) == (2 * 2 * 2 * 64 * (seen * block) * 4, 64 * seen * block)
    assert of(512) == tuple(8 * number for number in of(64))
