"""Experts that have too much to do are chosen less, whatever the micro-batches."""

import pytest
import torch
from server.pretraining.small import FAMILY_NAMES, SPECIALS, VOCABULARY, small

from fedward_server.pretraining.architectures import Experts, build
from fedward_server.pretraining.balancing import Balancer, balancer


def model_and_balancer(rate: float) -> tuple[torch.nn.Module, Balancer]:
    experts = Experts(
        count=4, active=2, shared=1, dense_layers=1, dense_intermediate=40, balance=rate
    )
    architecture = small("deepseek", layers=3, experts=experts)
    model = build(architecture, VOCABULARY, SPECIALS, seed=1)
    found = balancer(architecture, model)
    assert found is not None
    return model, found


def biases(model: torch.nn.Module) -> torch.Tensor:
    named = model.state_dict()
    return torch.stack([t for name, t in named.items() if "e_score_correction_bias" in name])


def tokens(rows: int) -> torch.Tensor:
    return torch.randint(4, VOCABULARY, (rows, 16), generator=torch.Generator().manual_seed(2))


def test_a_step_moves_each_bias_by_the_rate_towards_an_equal_share() -> None:
    model, found = model_and_balancer(0.25)
    model(input_ids=tokens(8))
    loads_LE = found.step()
    assert loads_LE.sum(1).tolist() == [8 * 16 * 2] * 2  # two layers of experts, two of four active
    expected = 0.25 * torch.sign(64 - loads_LE)
    assert expected.abs().sum() > 0
    assert torch.equal(biases(model), expected)


def test_micro_batches_change_nothing_and_evaluation_counts_nothing() -> None:
    (one, at_once), (other, in_parts) = model_and_balancer(0.1), model_and_balancer(0.1)
    ids_BT = tokens(8)
    one(input_ids=ids_BT)
    for part in torch.split(ids_BT, 2):
        other(input_ids=part)
    other.eval()(input_ids=ids_BT)
    assert torch.equal(at_once.step(), in_parts.step())
    assert torch.equal(biases(one), biases(other))
    assert in_parts.step().sum() == 0


def test_loads_become_more_equal() -> None:
    model, found = model_and_balancer(0.002)
    for name, tensor in model.state_dict().items():
        if "e_score_correction_bias" in name:
            tensor[0] += 0.05  # an expert that all tokens go to
    ids_BT, spread = tokens(16), []
    for _ in range(40):
        with torch.no_grad():
            model(input_ids=ids_BT)
        loads_LE = found.step().float()
        spread.append((loads_LE.std(1) / loads_LE.mean(1)).mean().item())
    assert spread[-1] < 0.3 * spread[0]


@pytest.mark.parametrize("family", [name for name in FAMILY_NAMES if name != "deepseek"])
def test_no_other_family_has_biases(family: str) -> None:
    architecture = small(family)  # type: ignore[arg-type]
    model = build(architecture, VOCABULARY, SPECIALS, seed=1)
    assert balancer(architecture, model) is None
    assert not [name for name in model.state_dict() if "e_score_correction_bias" in name]
