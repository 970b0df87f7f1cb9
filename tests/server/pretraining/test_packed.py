"""In a row of several documents no document sees another, in training, whatever the family."""

from typing import Any

import pytest
import torch
from server.pretraining.small import FAMILY_NAMES, SPECIALS, VOCABULARY, small
from torch import Tensor

from fedward_server.pretraining.architectures import build
from fedward_server.pretraining.families import FAMILIES, FamilyName
from fedward_server.pretraining.packed import packed_inputs

LENGTHS = (5, 1, 7, 3)
TARGETS = (2, 1, 4, 3)
PACKED = [name for name in FAMILY_NAMES if FAMILIES[name].packed]


def row(lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Positions and documents (1, T) of documents of these lengths."""
    documents_T = torch.cat([torch.full((n,), i) for i, n in enumerate(lengths)])
    positions_T = torch.cat([torch.arange(n) for n in lengths])
    return positions_T[None], documents_T[None]


def tokens(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, VOCABULARY, (1, count), generator=generator)


def logits(model: Any, family: FamilyName, source: Any, target: Any) -> Tensor:
    """Of documents (tokens (1, T), lengths); those of the decoder's tokens where there is one."""
    (ids_BT, lengths), (ids_BU, target_lengths) = source, target
    _, targets_BU = row(target_lengths)
    inputs = packed_inputs(small(family), *row(lengths), targets_BU=targets_BU)
    if family == "t5":
        inputs["decoder_input_ids"] = ids_BU
    return model(input_ids=ids_BT, **inputs).logits


@pytest.mark.parametrize("family", PACKED)
def test_a_document_in_a_row_is_as_if_it_were_alone(family: FamilyName) -> None:
    model = build(small(family), VOCABULARY, SPECIALS, seed=1)
    ids_BT, ids_BU = tokens(sum(LENGTHS), 2), tokens(sum(TARGETS), 3)
    whole_BTV = logits(model, family, (ids_BT, LENGTHS), (ids_BU, TARGETS))
    cut = TARGETS if family == "t5" else LENGTHS
    parts = zip(torch.split(ids_BT, LENGTHS, 1), torch.split(ids_BU, TARGETS, 1), strict=True)
    for part_BTV, (one, target) in zip(torch.split(whole_BTV, cut, 1), parts, strict=True):
        alone = logits(model, family, (one, (one.shape[1],)), (target, (target.shape[1],)))
        torch.testing.assert_close(part_BTV, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", PACKED)
def test_what_a_document_says_changes_no_other(family: FamilyName) -> None:
    model = build(small(family), VOCABULARY, SPECIALS, seed=1)
    ids_BT, ids_BU = tokens(sum(LENGTHS), 2), tokens(sum(TARGETS), 3)
    before_BTV = logits(model, family, (ids_BT, LENGTHS), (ids_BU, TARGETS))
    third = slice(6, 13)
    ids_BT[:, third] = tokens(7, 4)
    after_BTV = logits(model, family, (ids_BT, LENGTHS), (ids_BU, TARGETS))
    cut = TARGETS if family == "t5" else LENGTHS
    same = [
        torch.equal(a, b)
        for a, b in zip(
            torch.split(before_BTV, cut, 1), torch.split(after_BTV, cut, 1), strict=True
        )
    ]
    assert same == [True, True, False, True]


@pytest.mark.parametrize("family", PACKED)
def test_gradients_of_a_row_are_those_of_its_documents(family: FamilyName) -> None:
    model = build(small(family), VOCABULARY, SPECIALS, seed=1)
    ids_BT, ids_BU = tokens(sum(LENGTHS), 2), tokens(sum(TARGETS), 3)
    logits(model, family, (ids_BT, LENGTHS), (ids_BU, TARGETS)).square().sum().backward()
    packed = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    sources, targets = torch.split(ids_BT, LENGTHS, 1), torch.split(ids_BU, TARGETS, 1)
    for one, target in zip(sources, targets, strict=True):
        alone = logits(model, family, (one, (one.shape[1],)), (target, (target.shape[1],)))
        alone.square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            scale = parameter.grad.abs().max().item() + 1e-6
            torch.testing.assert_close(packed[name], parameter.grad, atol=1e-4 * scale, rtol=0)


def test_longformer_sees_the_first_document_of_a_row_and_the_rest_is_padding() -> None:
    model = build(small("longformer"), VOCABULARY, SPECIALS, seed=1)
    ids_BT, lengths = tokens(16, 2), (11, 5)
    inputs = packed_inputs(small("longformer"), *row(lengths))
    before_BTV = model(input_ids=ids_BT, **inputs).logits
    ids_BT[:, 11:] = tokens(5, 3)
    torch.testing.assert_close(model(input_ids=ids_BT, **inputs).logits[:, :11], before_BTV[:, :11])


SEES = {
    # Of 16 tokens, which the tenth depends on within one layer.
    "modernbert": range(7, 12),
    "longformer": [0, *range(7, 12)],
    "mistral": range(6, 10),
}


@pytest.mark.parametrize("family", SEES)
def test_a_layer_sees_its_window_and_no_further(family: FamilyName) -> None:
    model = build(small(family), VOCABULARY, SPECIALS, seed=1)
    one_layer_of(model, family)
    whole = packed_inputs(small(family), *row((16,)))
    embedded_BTH = model.get_input_embeddings()(tokens(16, 2)).detach().requires_grad_()
    model(inputs_embeds=embedded_BTH, **whole).logits[0, 9].sum().backward()
    assert embedded_BTH.grad is not None
    seen = embedded_BTH.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert seen == list(SEES[family])


def one_layer_of(model: Any, family: FamilyName) -> None:
    """Leaves one layer with a window in the model."""
    if family == "longformer":
        model.longformer.encoder.layer = model.longformer.encoder.layer[1:]
        model.longformer.encoder.layer[0].attention.self.layer_id = 0
    else:
        model.model.layers = model.model.layers[1:]
        model.config.num_hidden_layers = 1


def test_a_model_with_a_decoder_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="documents of the decoder's tokens"):
        packed_inputs(small("t5"), *row(LENGTHS))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_parameter_has_a_gradient(family: FamilyName) -> None:
    """Processes that sum gradients wait for all of them; an expert without tokens has zeros."""
    model = build(small(family), VOCABULARY, SPECIALS, seed=1)
    lengths = LENGTHS if FAMILIES[family].packed else (16,)
    source, target = (tokens(16, 2), lengths), (tokens(sum(TARGETS), 3), TARGETS)
    logits(model, family, source, target).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_checkpointing_changes_neither_logits_nor_gradients(family: FamilyName) -> None:
    lengths = LENGTHS if FAMILIES[family].packed else (16,)
    source, target = (tokens(16, 2), lengths), (tokens(sum(TARGETS), 3), TARGETS)
    gradients = []
    for sparing in (False, True):
        model = build(small(family), VOCABULARY, SPECIALS, seed=1)
        if sparing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        logits(model, family, source, target).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    # T5's layers share their positions, whose gradients are added up in another order.
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-5)
