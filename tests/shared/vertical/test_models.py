"""The loss of a study, and the probabilities that come out of its top."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.vertical.models import CrossEntropy, Top, begin, probabilities
from fedward_shared.vertical.terms import ModelTerms

MODEL = ModelTerms(members=3, width=4, hidden=5)


def by_hand(logits_BO, label_B, weights):
    """One record after the other, by the definition."""
    total = 0.0
    for logits, label in zip(logits_BO.double().tolist(), label_B.tolist(), strict=True):
        scores = [0.0, *logits] if len(logits) == 1 else logits
        total += weights[label] * (math.log(sum(map(math.exp, scores))) - scores[label])
    return total / len(label_B)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32), st.booleans())
def test_the_loss_is_the_mean_of_the_weighted_cross_entropies(outputs, records, seed, weighted):
    drawn = torch.Generator().manual_seed(seed)
    logits_BO = 3 * torch.randn(records, outputs, generator=drawn)
    classes = max(2, outputs)
    label_B = torch.randint(classes, (records,), generator=drawn)
    weights = [0.25 + number for number in range(classes)] if weighted else []
    found = CrossEntropy(weights)(logits_BO, label_B)
    wanted = by_hand(logits_BO, label_B, weights or [1.0] * classes)
    assert float(found) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("outputs", [1, 3])
def test_of_members_it_is_the_mean(outputs):
    logits_MBO = torch.randn(3, 5, outputs, generator=torch.Generator().manual_seed(0))
    label_B = torch.tensor([0, 1, 1, 0, 1])
    loss = CrossEntropy((2.0, 5.0, 1.0)[: max(2, outputs)])
    members = torch.stack([loss(logits_BO, label_B) for logits_BO in logits_MBO])
    assert torch.allclose(loss(logits_MBO, label_B), members.mean())


def test_a_weight_is_felt_in_a_batch_of_one():
    logits, label = torch.tensor([[0.3, -0.2, 1.0]]), torch.tensor([1])
    assert CrossEntropy((1.0, 4.0, 1.0))(logits, label) == 4 * CrossEntropy()(logits, label)


@pytest.mark.parametrize("outputs", [1, 4])
def test_probabilities_are_those_of_the_members_together(outputs):
    top = Top(MODEL, outputs)
    begin(top, "test")
    embedded_BE = torch.randn(6, MODEL.embedding, generator=torch.Generator().manual_seed(1))
    found = top.probabilities(embedded_BE)
    logits_MBO = top(embedded_BE)
    assert logits_MBO.shape == (3, 6, outputs)
    assert torch.equal(found, probabilities(logits_MBO))
    if outputs == 1:
        assert found.shape == (6,)
        assert torch.allclose(found, (1 / (1 + torch.exp(-logits_MBO[..., 0]))).mean(dim=0))
    else:
        assert found.shape == (6, 4)
        assert torch.allclose(found.sum(dim=1), torch.ones(6))
        assert (found.std(dim=1) > 1e-3).all()
