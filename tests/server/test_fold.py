"""The fold at its bounds: the largest sums that it admits are exact, and it admits no larger ones."""

import pytest
import torch

from fedward_server.fold import FRACTION_BITS, MAXIMUM_VALUE, MAXIMUM_WEIGHT, Fold
from fedward_shared import tensors
from fedward_shared.errors import AdapterError


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("share", [MAXIMUM_WEIGHT, 1024])
def test_the_largest_values_with_the_largest_weights_do_not_overflow(
    sign: float, share: int
) -> None:
    fold = Fold({"w": (2,)})
    for _ in range(MAXIMUM_WEIGHT // share):
        fold.add({"w": torch.full((2,), sign * MAXIMUM_VALUE)}, share)
    assert fold.total_weight == MAXIMUM_WEIGHT
    assert fold.mean()["w"].tolist() == [sign * MAXIMUM_VALUE] * 2


def test_one_weight_too_many_is_refused_and_nothing_is_added() -> None:
    fold = Fold({"w": (1,)})
    fold.add({"w": torch.ones(1)}, MAXIMUM_WEIGHT - 1)
    with pytest.raises(AdapterError, match="weights of a round add up"):
        fold.add({"w": torch.full((1,), 100.0)}, 2)
    fold.add({"w": torch.ones(1)}, 1)
    assert float(fold.mean()["w"]) == 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_next_number_beyond_the_bound_is_refused(sign: float) -> None:
    beyond = torch.nextafter(torch.tensor([sign * MAXIMUM_VALUE]), torch.tensor(sign * 1e9))
    with pytest.raises(AdapterError, match="beyond"):
        Fold({"w": (1,)}).add({"w": beyond}, 1)


def test_a_number_is_rounded_to_the_nearest_step() -> None:
    step = 2.0**-FRACTION_BITS
    fold = Fold({"w": (4,)})
    fold.add({"w": torch.tensor([step, 0.6 * step, 0.4 * step, -0.6 * step])}, 1)
    assert fold.mean()["w"].tolist() == [step, step, 0.0, -step]


def test_opposite_updates_leave_exactly_nothing() -> None:
    fold = Fold({"w": (1000,)})
    update = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    for weight in (3, 5):
        fold.add({"w": update}, weight)
        fold.add({"w": -update}, weight)
    assert tensors.norm(fold.mean()) == 0


def test_an_empty_fold_has_no_mean() -> None:
    with pytest.raises(ZeroDivisionError):
        Fold({"w": (1,)}).mean()
