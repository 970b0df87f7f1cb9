"""Patients: many records are one unit, and however they are cut up the sum is the same."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from client.steps import EVERY, PLAN, run

from fedward_shared import tensors
from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tasks import units
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples

PATIENTS = replace(PLAN, unit="patient")


def owned(examples: Examples, owners: list[int]) -> Examples:
    return replace(examples, owners=np.array(owners, dtype=np.int64))


def taken(examples: Examples, rows: Sequence[int], owners: np.ndarray) -> Examples:
    """The records at `rows`, some perhaps several times, of these owners."""
    indices = np.asarray(rows)
    starts, stops = examples.offsets[indices], examples.offsets[indices + 1]
    pieces = [examples.hidden_PD[a:b] for a, b in zip(starts, stops, strict=True)]
    offsets = np.concatenate([[0], np.cumsum(stops - starts)])
    return Examples(torch.cat(pieces), offsets, examples.targets[indices], owners)


def owners_of(records: int, patients: int) -> list[int]:
    """Whose each record is; the records of one patient lie apart, and some have many."""
    drawn = np.random.default_rng(3).integers(0, patients, records - patients).tolist()
    return [*range(patients), *sorted(drawn, reverse=True)]


def clipped_sum_of_units(
    model: StudyModel, examples: Examples, sampled: np.ndarray, bounds: tuple[float, float]
) -> tensors.Tensors:
    """For each unit the gradient of its records' losses together, by plain autograd, then clipped."""
    assert examples.owners is not None
    trained = {n: t for n, t in model.named_tensors().items() if t.requires_grad}
    total = {name: torch.zeros_like(t) for name, t in trained.items()}
    for unit in sampled:
        own = np.flatnonzero(examples.owners == unit)
        loss = sum((model(examples.batch(np.array([i]))).sum() for i in own), torch.zeros(()))
        grads = dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))
        for is_head, bound in zip((True, False), bounds, strict=True):
            part = {n: g for n, g in grads.items() if n.startswith("head.") == is_head}
            factor = min(1.0, bound / tensors.norm(part)) if part else 0.0
            for name, grad in part.items():
                total[name] += factor * grad
    return total


@EVERY
@pytest.mark.parametrize(
    ("clipping_norm", "patients"), [(0.05, 6), (50.0, 6), (0.05, 3), (0.3, 15)]
)
def test_a_step_sums_a_patients_records_and_clips_the_sum(
    setup: tuple[StudyModel, Examples], clipping_norm: float, patients: int
) -> None:
    model, examples = setup
    examples = owned(examples, owners_of(len(examples), patients))
    plan = replace(PATIENTS, clipping_norm=clipping_norm, noise_multiplier=1e-6 / clipping_norm)
    (sample,) = plan.batches(patients, Randomness.from_seed(4, "sample"))
    assert 0 < len(sample) < patients
    bounds = plan.clipping_norms(head=True, adapter=True)
    expected = clipped_sum_of_units(model, examples, sample, bounds)
    change = run(model, examples, plan, seed=4)
    for name, total in expected.items():
        torch.testing.assert_close(change[name], -total / plan.expected_batch, atol=2e-6, rtol=1e-4)


def test_with_one_record_each_patients_are_records_bit_for_bit(
    setup: tuple[StudyModel, Examples],
) -> None:
    model, examples = setup
    records = replace(PLAN, noise_multiplier=1.0, steps=4)
    by_record = run(model, examples, records)
    by_patient = run(
        model, owned(examples, list(range(len(examples)))), replace(records, unit="patient")
    )
    assert tensors.digest(by_record) == tensors.digest(by_patient)


def test_one_patient_moves_the_update_by_at_most_the_clipping_norm(
    setup: tuple[StudyModel, Examples],
) -> None:
    """However many records the patient has; clipped one by one they would move it further."""
    model, examples = setup
    everyone = replace(PATIENTS, sampling_rate=1.0)
    many = len(examples) // 2
    examples = owned(examples, [*range(many), *[many] * (len(examples) - many)])
    assert examples.owners is not None
    offsets = examples.offsets[: many + 1]
    fewer = Examples(
        examples.hidden_PD[: offsets[-1]], offsets, examples.targets[:many], examples.owners[:many]
    )

    def moved(plan: TrainingPlan) -> float:
        whole, without = run(model, examples, plan), run(model, fewer, plan)
        return tensors.norm({n: (whole[n] - without[n]) * plan.expected_batch for n in whole})

    assert 0 < moved(everyone) <= everyone.clipping_norm * 1.001
    assert moved(replace(everyone, unit="record")) > 1.1 * everyone.clipping_norm


@pytest.mark.parametrize("records", [1, 100])
@pytest.mark.parametrize("limit", [None, 7])
def test_a_patient_of_one_or_a_hundred_records_moves_the_sum_by_at_most_the_clipping_norm(
    setup: tuple[StudyModel, Examples], records: int, limit: int | None
) -> None:
    """The sum before the noise, through the whole trainer: with and without the patient."""
    model, examples = setup
    others = len(examples) // 2
    rows = [*range(others), *(others + np.arange(records) % (len(examples) - others))]
    owners = np.array([*range(others), *[others] * records])
    plan = replace(PATIENTS, sampling_rate=1.0, noise_multiplier=1e-9, records_per_unit=limit)
    whole = run(model, taken(examples, rows, owners), plan)
    without = run(model, taken(examples, rows[:others], owners[:others]), plan)
    moved = tensors.norm({n: (whole[n] - without[n]) * plan.expected_batch for n in whole})
    assert 0 < moved <= plan.clipping_norm * 1.001
    # What the patient gives is clipped: it does not vanish in the records either.
    assert moved > 0.5 * plan.clipping_norm


def test_of_a_patient_at_most_so_many_records_enter_drawn_anew_for_each_training(
    setup: tuple[StudyModel, Examples],
) -> None:
    model, examples = setup
    examples = owned(examples, owners_of(len(examples), 4))
    assert examples.owners is not None
    plan = replace(PATIENTS, sampling_rate=1.0, records_per_unit=2, clipping_norm=50.0)
    plan = replace(plan, noise_multiplier=1e-9)
    bounds = plan.clipping_norms(head=True, adapter=True)
    drawn = set()
    for seed in range(3):
        units_of_it = examples.units("patient").at_most(
            2, examples.lengths, Randomness.from_seed(seed, "records")
        )
        rows, places = units_of_it.records(np.arange(4))
        drawn.add(tuple(rows))
        assert np.bincount(places).max() == 2
        fewer = taken(examples, rows, examples.owners[rows])
        expected = clipped_sum_of_units(model, fewer, np.arange(4), bounds)
        change = run(model, examples, plan, seed)
        for name, total in expected.items():
            wanted = -total / plan.expected_batch
            torch.testing.assert_close(change[name], wanted, atol=2e-6, rtol=1e-4)
    assert len(drawn) > 1


@pytest.mark.parametrize("micro_batch", [1, 40, 10**6])
def test_how_a_sum_of_records_is_cut_up_does_not_matter(
    setup: tuple[StudyModel, Examples], monkeypatch: pytest.MonkeyPatch, micro_batch: int
) -> None:
    """Who is in a sample is drawn before it is sorted by length and cut into virtual batches."""
    model, examples = setup
    plan = replace(PLAN, noise_multiplier=1.0, steps=3)
    expected = run(model, examples, plan)
    seen: list[int] = []
    real = Examples.batch

    def watched(self: Examples, indices: np.ndarray) -> object:
        seen.extend(indices)
        return real(self, indices)

    monkeypatch.setattr(Examples, "batch", watched)
    monkeypatch.setattr(units, "MICRO_BATCH_TOKENS", micro_batch)
    change = run(model, examples, plan)
    samples = plan.batches(len(examples), Randomness.from_seed(0, "sample"))
    assert sorted(seen) == sorted(np.concatenate(list(samples)).tolist())
    for name, tensor in expected.items():
        torch.testing.assert_close(change[name], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 40, 10**6])
def test_how_a_patients_sum_is_cut_up_does_not_matter(
    setup: tuple[StudyModel, Examples], monkeypatch: pytest.MonkeyPatch, micro_batch: int
) -> None:
    model, examples = setup
    examples = owned(examples, owners_of(len(examples), 3))
    plan = replace(PATIENTS, noise_multiplier=1.0, steps=2)
    expected = run(model, examples, plan)
    monkeypatch.setattr(units, "MICRO_BATCH_TOKENS", micro_batch)
    change = run(model, examples, plan)
    for name, tensor in expected.items():
        torch.testing.assert_close(change[name], tensor, atol=1e-5, rtol=1e-4)


def test_a_patient_with_very_many_records_never_fills_the_memory(
    setup: tuple[StudyModel, Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, examples = setup
    times = 60
    many = Examples(
        examples.hidden_PD.repeat(times, 1),
        np.concatenate([[0], np.cumsum(np.tile(examples.lengths, times))]),
        examples.targets.repeat(times),
        np.zeros(times * len(examples), dtype=np.int64),
    )
    seen = []
    real = Examples.batch

    def watched(self: Examples, indices: np.ndarray) -> object:
        seen.append(len(indices) * int(self.lengths[indices].max()))
        return real(self, indices)

    monkeypatch.setattr(Examples, "batch", watched)
    everyone = replace(PATIENTS, sampling_rate=1.0)
    alone = run(model, many, everyone)
    assert len(seen) > 3
    assert max(seen) <= units.MICRO_BATCH_TOKENS
    assert tensors.norm(alone) * everyone.expected_batch <= everyone.clipping_norm * 1.001


def test_without_dp_a_step_has_all_records_of_the_sampled_patients(
    setup: tuple[StudyModel, Examples],
) -> None:
    model, examples = setup
    examples = owned(examples, owners_of(len(examples), 6))
    plan = TrainingPlan("none", 0.5, 0.0, 1.0, 1, 7.0, 0.3, "customer")
    (sample,) = plan.batches(6, Randomness.from_seed(0, "sample"))
    unbounded = (float("inf"), float("inf"))
    expected = clipped_sum_of_units(model, examples, sample, unbounded)
    change = run(model, examples, plan)
    for name, total in expected.items():
        torch.testing.assert_close(change[name], -total / 7.0, atol=1e-6, rtol=1e-4)


def test_records_that_are_nobodys_are_no_patients(setup: tuple[StudyModel, Examples]) -> None:
    with pytest.raises(PrivacyError, match="no column says whose"):
        run(*setup, PATIENTS)
