"""Who judges, and that one unit moves a score as the booked event says."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from client.steps import model_and_examples
from conftest import adapter_terms
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.searching import scoring
from fedward_shared.charter_terms import TaskTerms
from fedward_shared.errors import ModelError
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness

PLAN = TrainingPlan("dp-sgd", 0.3, 2.0, 1.0, 20, 10.0, 0.2)
KEY = b"k" * 32
losses = st.lists(st.floats(0, 1), max_size=30).map(np.array)


def source(label: str) -> Randomness:
    return Randomness.from_seed(0, label)


@given(st.lists(st.text(min_size=1)), st.randoms())
def test_who_is_held_out_depends_on_nobody_else(names: list[str], shuffled) -> None:
    found = dict(zip(names, scoring.held_out(KEY, names), strict=True))
    others = [*names, "one more"]
    shuffled.shuffle(others)
    again = dict(zip(others, scoring.held_out(KEY, others), strict=True))
    assert {name: again[name] for name in names} == found


def test_a_fifth_is_held_out_and_another_key_holds_out_others() -> None:
    names = [f"patient {n}" for n in range(5000)]
    held_N = scoring.held_out(KEY, names)
    assert abs(held_N.mean() - 0.2) < 0.02
    assert 0.6 < (held_N == scoring.held_out(b"l" * 32, names)).mean() < 0.75


@given(losses, st.floats(0, 1))
def test_a_unit_more_moves_a_sum_by_at_most_one_in_each_step(
    before_U: np.ndarray, more: float
) -> None:
    """The noise is the same, so the difference is what the unit itself has added."""
    quiet = replace(PLAN, sampling_rate=1.0)
    after_U = np.append(before_U, more)

    def total(losses_U: np.ndarray) -> float:
        noise = Quiet(b"n" * 32)
        return scoring.noisy_mean(losses_U, quiet, 1.0, noise) * quiet.steps

    moved = total(after_U) - total(before_U)
    assert -1e-6 <= moved <= quiet.steps * (1 + 1e-6)
    assert moved == pytest.approx(more * quiet.steps, abs=1e-6)


class Quiet(Randomness):
    """Samples, and no noise."""

    def normal(self, shape) -> torch.Tensor:
        return torch.zeros(tuple(shape))


def test_noise_and_expectation_are_those_that_are_told() -> None:
    losses_U = np.linspace(0, 1, 50)
    empty = [scoring.noisy_mean(np.zeros(0), PLAN, 50.0, source(f"empty {n}")) for n in range(2000)]
    expected = scoring.deviation(PLAN, 50.0)
    assert expected == pytest.approx(2.0 * math.sqrt(20) / (20 * 0.3 * 50))
    assert np.std(empty) == pytest.approx(expected, rel=0.06)
    assert abs(np.mean(empty)) < 4 * expected / math.sqrt(2000)
    found = [scoring.noisy_mean(losses_U, PLAN, 50.0, source(f"some {n}")) for n in range(2000)]
    spread = np.std(found)
    assert spread > expected  # which units are sampled varies, too
    assert np.mean(found) == pytest.approx(0.5, abs=4 * spread / math.sqrt(2000))


def test_a_unit_contributes_the_mean_of_its_records_and_no_more_than_one(
    tiny_bert_folder: Path, task: TaskTerms
) -> None:
    model, examples = model_and_examples(tiny_bert_folder, task, adapter_terms("lora"))
    examples = replace(examples, owners=np.arange(len(examples)) // 2)
    units = examples.units("patient")
    with torch.no_grad():
        losses_N = torch.cat([model(examples.batch(np.array([n]))) for n in range(len(examples))])
    wanted_U = losses_N.numpy().reshape(-1, 2).mean(axis=1) / 10
    assert scoring.unit_losses(model, examples, units, 10.0) == pytest.approx(wanted_U, rel=1e-4)
    assert (scoring.unit_losses(model, examples, units, 1e-9) == 1).all()
    model.head.bias.data.fill_(math.nan)  # of a model that is broken, too
    assert (scoring.unit_losses(model, examples, units, 10.0) == 1).all()


@pytest.mark.parametrize("method", ["lora", "head-only"])
def test_part_of_the_examples_is_what_these_records_are(
    tiny_bert_folder: Path, task: TaskTerms, method: str
) -> None:
    model, examples = model_and_examples(tiny_bert_folder, task, adapter_terms(method))
    examples = replace(examples, owners=np.arange(len(examples)) // 3)
    chosen = np.array([0, 3, 4, 7])
    part = examples.taken(chosen)
    with torch.no_grad():
        assert torch.equal(model(part.batch(np.arange(4))), model(examples.batch(chosen)))
    assert part.owners is not None
    assert part.owners.tolist() == [0, 1, 1, 2]
    assert part.lengths.tolist() == examples.lengths[chosen].tolist()


def test_a_loss_counts_as_one_at_twice_that_of_guessing(
    tiny_bert_folder: Path, tmp_path: Path
) -> None:
    labels = TaskTerms(kind="text-classification", labels=("a", "b"))
    assert scoring.bound(labels, tmp_path) == pytest.approx(2 * math.log(2))
    tags = TaskTerms(kind="token-classification", labels=("a", "b"))
    assert scoring.bound(tags, tmp_path) == pytest.approx(2 * math.log(5))
    words = TaskTerms(kind="causal-lm")
    assert 2 < scoring.bound(words, tiny_bert_folder) < 25
    with pytest.raises(ModelError, match="vocab_size"):
        scoring.bound(words, tmp_path)
