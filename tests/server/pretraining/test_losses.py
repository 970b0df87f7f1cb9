"""The loss that a step sums is transformers' own, in less memory."""

import pytest
import torch
from server.pretraining.small import FAMILY_NAMES, SPECIALS, VOCABULARY, small
from torch.nn import functional as F

from fedward_server.pretraining import losses as module
from fedward_server.pretraining.architectures import build
from fedward_server.pretraining.families import FamilyName
from fedward_server.pretraining.losses import IGNORED, losses


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_it_is_the_sum_of_what_transformers_takes_the_mean_of(
    family: FamilyName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SCORES", 5 * VOCABULARY)  # several pieces of five rows
    model = build(small(family), VOCABULARY, SPECIALS, seed=1)
    ids_BT = torch.arange(4, 36).reshape(2, 16)
    labels_BT = ids_BT.clone()
    labels_BT[:, :7] = IGNORED
    inputs = {"input_ids": ids_BT}
    if family == "mixtral":
        inputs["output_router_logits"] = True  # type: ignore[assignment]
    theirs = model(labels=labels_BT, **inputs).loss
    theirs.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    if family == "t5":
        inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels_BT)
    if small(family).objective == "causal":  # what transformers does within
        labels_BT = F.pad(labels_BT[:, 1:], (0, 1), value=IGNORED)
    summed, auxiliary = losses(small(family), model(**inputs), labels_BT)
    ours = summed / 18 + auxiliary
    ours.backward()
    torch.testing.assert_close(ours, theirs)
    assert (auxiliary.item() > 0) == (family == "mixtral")
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-4)


def test_no_float32_copy_of_the_logits_is_kept_for_backward() -> None:
    logits_BTV = torch.randn(1, 64, 4096, dtype=torch.bfloat16, requires_grad=True)
    outputs = type("Outputs", (), {"logits": logits_BTV})()
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.untyped_storage().nbytes() if tensor.dtype == torch.float32 else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses(small("bert"), outputs, torch.zeros(1, 64, dtype=torch.long))
    assert sum(kept) < logits_BTV.numel()
