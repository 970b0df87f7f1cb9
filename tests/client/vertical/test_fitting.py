"""Gradients of single records, and the batches of both parties."""

import numpy as np
import pytest
import torch
from torch import nn

from fedward_client.vertical.fitting import batches, gradients, noised_gradients
from fedward_shared.privacy.bounded import BoundedNoise
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical.terms import FittingTerms


def squared(made, target):
    return (made - target).square().sum()


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def by_hand(module, x, target):
    found = []
    for row in range(len(x)):
        module.zero_grad()
        squared(module(x[row : row + 1]), target[row : row + 1]).backward()
        found.append([tensor.grad.clone() for tensor in module.parameters()])
    module.zero_grad()
    return [torch.stack(one) for one in zip(*found, strict=True)]


def test_gradients_of_single_records_are_those_of_batches_of_one():
    module, x, target = small(), torch.randn(5, 3), torch.randn(5, 2)
    for found, wanted in zip(
        gradients(module, (x,), target, squared), by_hand(module, x, target), strict=True
    ):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_of_no_record_there_are_none():
    found = gradients(small(), (torch.zeros(0, 3),), torch.zeros(0, 2), squared)
    assert [tuple(sample.shape) for sample in found] == [(0, 4, 3), (0, 4), (0, 2, 4), (0, 2)]


def test_a_step_is_the_mean_of_the_clipped_ones():
    module, x, target = small(), 10 * torch.randn(6, 3), 10 * torch.randn(6, 2)
    samples = torch.cat([one.flatten(1) for one in by_hand(module, x, target)], dim=1)
    lengths = samples.norm(dim=1, keepdim=True)
    assert bool((lengths > 0.5).any())
    wanted = (samples * (0.5 / lengths).clamp(max=1)).mean(dim=0)
    noised_gradients(
        module, (x,), target, squared, BoundedNoise(0.5, 1e-12), Randomness.from_seed(0)
    )
    found = torch.cat([tensor.grad.flatten() for tensor in module.parameters()])
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(("records", "batch"), [(10, 3), (9, 3), (2, 64)])
def test_every_epoch_has_each_record_once_and_an_order_of_its_own(records, batch):
    terms = FittingTerms(epochs=3, batch=batch)
    found = list(batches(terms, records, "session"))
    assert len(found) == terms.steps(records)
    whole = torch.cat(found).numpy().reshape(3, records)
    assert (np.sort(whole, axis=1) == np.arange(records)).all()
    again = torch.cat(list(batches(terms, records, "session"))).numpy()
    assert (again == whole.ravel()).all()


def test_what_does_not_train_has_no_part_in_a_step():
    """A frozen tensor takes nothing of the clipping norm and gets no noise."""
    module, x, target = small(), torch.randn(5, 3), torch.randn(5, 2)
    whole = gradients(module, (x,), target, squared)
    module[0].requires_grad_(False)
    found = gradients(module, (x,), target, squared)
    assert all(map(torch.equal, found, whole[2:]))
    assert len(found) == 2
    lengths = torch.cat([one.flatten(1) for one in found], dim=1).norm(dim=1)
    clipping = float(lengths.max()) * 1.001
    noise = BoundedNoise(clipping, 1e-12)
    noised_gradients(module, (x,), target, squared, noise, Randomness.from_seed(0))
    assert module[0].weight.grad is None
    assert torch.allclose(module[2].weight.grad, whole[2].mean(dim=0), atol=1e-6)
