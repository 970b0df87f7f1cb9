"""DP-SGD against a by-hand oracle: clipping, noise and sampling are those of the plan."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from client.steps import EVERY, PLAN, TERMS, clipped_sum, model_and_examples, run, shaken
from conftest import adapter_terms, texts
from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

from fedward_client.training import aftermath, lora
from fedward_client.training.trainer import train
from fedward_shared import tasks, tensors
from fedward_shared.charter_terms import AdapterTerms, TaskTerms, TrainingTerms
from fedward_shared.errors import PrivacyError
from fedward_shared.privacy.clipping import AdaptiveClipping
from fedward_shared.privacy.matrix import BandedNoise
from fedward_shared.privacy.plan import TrainingPlan
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples


@EVERY
def test_a_step_is_the_clipped_sum_over_the_expected_batch(
    setup: tuple[StudyModel, Examples],
) -> None:
    model, examples = setup
    (sample,) = PLAN.batches(len(examples), Randomness.from_seed(0, "sample"))
    assert 0 < len(sample) != PLAN.expected_batch
    expected = clipped_sum(model, examples, sample, PLAN.clipping_norms(head=True, adapter=True))
    change = run(model, examples, PLAN)
    for name, total in expected.items():
        torch.testing.assert_close(change[name], -total / PLAN.expected_batch, atol=2e-6, rtol=1e-4)


LANGUAGE = TaskTerms(kind="causal-lm", max_tokens=24)


def mixture(tokenizer: Path, folder: Path) -> Path:
    """A tiny mixture of experts, with that tokeniser."""
    config = MixtralConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(tokenizer)),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    MixtralForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tokenizer / name).read_bytes())
    return folder


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_a_step_of_a_language_model_is_the_clipped_sum(
    kind: str, tiny_llama_folder: Path, tmp_path: Path
) -> None:
    """The last position counts for nothing, and only completions are predicted."""
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")
    modules = attention if kind == "mixtral" else (*attention, "gate_proj", "up_proj", "down_proj")
    folder = tiny_llama_folder if kind == "llama" else mixture(tiny_llama_folder, tmp_path)
    terms = AdapterTerms(method="lora", rank=2, target_modules=modules, layers=(1,))
    model = shaken(tasks.build(folder, LANGUAGE, terms))
    prompts = texts(20)["text"]
    completions = [text[: 3 + place % 9] for place, text in enumerate(prompts)]
    examples = model.prepare({"prompt": prompts, "completion": completions})
    (sample,) = PLAN.batches(len(examples), Randomness.from_seed(0, "sample"))
    expected = clipped_sum(model, examples, sample, (0.0, PLAN.clipping_norm))
    change = run(model, examples, PLAN)
    assert len(change) == 2 * len(modules)
    for name, total in expected.items():
        torch.testing.assert_close(change[name], -total / PLAN.expected_batch, atol=2e-6, rtol=1e-4)


ENTITIES = TaskTerms(kind="token-classification", labels=("site", "event"), max_tokens=16)


@pytest.mark.parametrize("method", ["head-only", "lora-xs", "lora", "prefix-tuning"])
def test_gradients_of_tagged_records_are_those_of_autograd(
    method: str, tiny_bert_folder: Path
) -> None:
    """The length of each record's gradient, of tokens without a target and of padding too, and its
    clipped sum: texts of 3 to 16 tokens in one batch."""
    model = shaken(tasks.build(tiny_bert_folder, ENTITIES, adapter_terms(method)))
    records = ["heart of the left femur " * (1 + place % 3) + "x" for place in range(20)]
    records[3] = "heart"
    entities = ['[{"start": 0, "end": 5, "label": "site"}]'] * 20
    examples = model.prepare({"text": records, "entities": entities})
    trained = {n: t for n, t in model.named_tensors().items() if t.requires_grad}
    with lora.fused(model, trained, per_record=True) as gradients:
        gradients.backward(model(examples.batch(np.arange(20))))
    for place in range(20):
        loss = model(examples.batch(np.array([place]))).sum()
        alone = torch.autograd.grad(loss, list(trained.values()))
        ours = torch.cat([t.grad_sample[place].flatten() for t in trained.values()])
        theirs = torch.cat([gradient.flatten() for gradient in alone])
        assert float(abs(ours.norm() - theirs.norm())) <= 1e-5
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    for tensor in trained.values():
        tensor.grad_sample = None
    (sample,) = PLAN.batches(len(examples), Randomness.from_seed(0, "sample"))
    adapter_moves = method != "head-only"
    bounds = PLAN.clipping_norms(head=True, adapter=adapter_moves)
    expected = clipped_sum(model, examples, sample, bounds)
    change = run(model, examples, PLAN)
    for name, total in expected.items():
        torch.testing.assert_close(change[name], -total / PLAN.expected_batch, atol=2e-6, rtol=1e-4)


@EVERY
def test_one_record_moves_the_update_by_at_most_the_clipping_norm(
    setup: tuple[StudyModel, Examples],
) -> None:
    model, examples = setup
    everyone = replace(PLAN, sampling_rate=1.0)
    whole = run(model, examples, everyone)
    offsets = examples.offsets[:-1]
    fewer = Examples(examples.hidden_PD[: offsets[-1]], offsets, examples.targets[:-1])
    without = run(model, fewer, everyone)
    moved = tensors.norm({n: (whole[n] - without[n]) * PLAN.expected_batch for n in whole})
    assert 0 < moved <= PLAN.clipping_norm * 1.001


@EVERY
def test_noise_has_the_plans_deviation_even_without_a_record(
    setup: tuple[StudyModel, Examples],
) -> None:
    model, examples = setup
    plan = replace(PLAN, noise_multiplier=3.0, sampling_rate=1e-9, steps=50)
    change = run(model, examples, plan)
    expected = 3.0 * PLAN.clipping_norm / PLAN.expected_batch * 50**0.5
    for head in (True, False):
        part = torch.cat([t.flatten() for n, t in change.items() if n.startswith("head.") == head])
        # Four standard deviations of a standard deviation.
        bound = 4 * expected / (2 * len(part)) ** 0.5
        assert float(part.square().mean().sqrt()) == pytest.approx(expected, abs=bound)


def test_a_seed_decides_everything(setup: tuple[StudyModel, Examples]) -> None:
    model, examples = setup
    plan = replace(PLAN, noise_multiplier=1.0, steps=3)
    first, again, other = (run(model, examples, plan, seed) for seed in (0, 0, 1))
    assert tensors.digest(first) == tensors.digest(again) != tensors.digest(other)


@EVERY
def test_frozen_tensors_stay(setup: tuple[StudyModel, Examples]) -> None:
    model, examples = setup
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    run(model, examples, replace(PLAN, noise_multiplier=1.0))
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    assert frozen


@EVERY
def test_head_rounds_train_the_head_alone(setup: tuple[StudyModel, Examples]) -> None:
    """And start above the whole body, with the values that the whole forward pass gives."""
    model, examples = setup
    terms = TERMS.model_copy(update={"head_rounds": 1})
    everything = np.arange(len(examples))
    with torch.no_grad():
        through_body = model(examples.batch(everything))
    model.enter_round(1, terms)
    pooled = model.prepare(texts(20))
    assert pooled.lengths.max() == 1
    torch.testing.assert_close(model(pooled.batch(everything)), through_body, atol=1e-5, rtol=1e-4)
    change = run(model, pooled, replace(PLAN, noise_multiplier=1.0), terms=terms)
    moved = {name for name, tensor in change.items() if bool(tensor.count_nonzero())}
    assert moved == {"head.weight", "head.bias"}
    model.enter_round(2, terms)
    change = run(model, examples, replace(PLAN, noise_multiplier=1.0), terms=terms)
    assert all(bool(tensor.count_nonzero()) for tensor in change.values())


@EVERY
def test_without_dp_a_step_is_the_plain_sum(setup: tuple[StudyModel, Examples]) -> None:
    model, examples = setup
    plan = TrainingPlan("none", 0.5, 0.0, 1.0, 1, 7.0, 0.3)
    (sample,) = plan.batches(len(examples), Randomness.from_seed(0, "sample"))
    expected = clipped_sum(model, examples, sample, (float("inf"), float("inf")))
    change = run(model, examples, plan)
    for name, total in expected.items():
        torch.testing.assert_close(change[name], -total / 7.0, atol=1e-6, rtol=1e-4)


@EVERY
@pytest.mark.parametrize("optimizer_steps", [2, 3])
@pytest.mark.parametrize("noise", [1e-6, 2.0])
def test_the_pull_to_the_start_is_neither_clipped_nor_noised(
    setup: tuple[StudyModel, Examples], noise: float, optimizer_steps: int
) -> None:
    """What μ adds to the last step is -η·μ·(w - w₀), of whatever length."""
    model, examples = setup
    plan = replace(PLAN, noise_multiplier=noise)
    strength, rate = 40.0, 0.01
    terms = TERMS.model_copy(update={"learning_rate": rate})
    pulled_terms = terms.model_copy(update={"proximal": strength})
    pulled = [
        run(model, examples, replace(plan, steps=n), terms=pulled_terms)
        for n in (optimizer_steps - 1, optimizer_steps)
    ]
    start = model.exchanged()
    model.load({n: start[n] + pulled[0][n] for n in start}, "before the last step")
    alone = last_step_alone(model, examples, plan, optimizer_steps, terms)
    model.load(start, "start")
    for name, before in pulled[0].items():
        added = pulled[1][name] - before - alone[name]
        torch.testing.assert_close(added, -rate * strength * before, atol=1e-5, rtol=1e-3)


def last_step_alone(
    model: StudyModel, examples: Examples, plan: TrainingPlan, steps: int, terms: TrainingTerms
) -> tensors.Tensors:
    """The last of `steps` steps without a pull, from where the model is: with its sample and noise."""

    def wound(purpose: str) -> Randomness:
        stream = Randomness.from_seed(0, purpose)
        for _ in range(steps - 1):
            if purpose == "sample":
                stream.uniform(len(examples))
            elif purpose.startswith("noise "):
                stream.normal(model.named_tensors()[purpose.removeprefix("noise ")].shape)
        return stream

    before = model.exchanged()
    train(model, examples, plan, terms, wound, lambda _a, _b: None)
    after = model.exchanged()
    return {name: after[name] - before[name] for name in before}


def test_the_heads_noise_is_the_same_with_and_without_an_adapter(
    setup: tuple[StudyModel, Examples], tiny_bert_folder: Path, task: TaskTerms
) -> None:
    """So that studies of one seed compare in pairs; a sample of nobody shows the noise alone."""
    nobody = replace(PLAN, sampling_rate=1e-12, noise_multiplier=1.0, expected_batch=7.0)
    probe, examples = model_and_examples(tiny_bert_folder, task, AdapterTerms(method="head-only"))
    with_adapter, without = run(*setup, nobody), run(probe, examples, nobody)
    for name, noise in without.items():
        torch.testing.assert_close(with_adapter[name], noise, atol=1e-6, rtol=1e-4)


# Adaptive clipping

ADAPTIVE = AdaptiveClipping(0.5, 0.5, 0.1)


def ended(
    setup: tuple[StudyModel, Examples], plan: TrainingPlan, norms: dict[str, float]
) -> tuple[tensors.Tensors, dict[str, float]]:
    """The change of one round that begins with `norms`, and the norms it ends with."""
    model, examples = setup
    before, norms = model.exchanged(), dict(norms)
    streams = partial(Randomness.from_seed, 0)
    train(model, examples, plan, TERMS, streams, lambda _a, _b: None, norms)
    after = model.exchanged()
    model.load(before, "before")
    return {name: after[name] - before[name] for name in before}, norms


def test_adaptive_norms_find_the_median_length_of_each_part(
    setup: tuple[StudyModel, Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without noise to speak of, and a learning rate at which the model stays as it is."""
    monkeypatch.setattr(aftermath, "check", lambda *_: None)  # which would refuse that
    model, examples = setup
    trained = {n: t for n, t in model.named_tensors().items() if t.requires_grad}
    lengths: dict[str, list[float]] = {"head": [], "adapter": []}
    for index in range(len(examples)):
        loss = model(examples.batch(np.array([index]))).sum()
        grads = dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))
        for part, of_it in lengths.items():
            named = {n: g for n, g in grads.items() if n.startswith("head.") == (part == "head")}
            of_it.append(tensors.norm(named))
    plan = replace(
        PLAN, noise_multiplier=1e-6, sampling_rate=1.0, expected_batch=20.0, adaptive=ADAPTIVE
    )
    still = TERMS.model_copy(update={"learning_rate": 1e-12})
    norms = {"head": 10.0, "adapter": 1e-3}
    streams = partial(Randomness.from_seed, 0)
    train(model, examples, replace(plan, steps=60), still, streams, lambda _a, _b: None, norms)
    for part, of_it in lengths.items():
        step = np.exp(ADAPTIVE.learning_rate * ADAPTIVE.quantile)
        assert np.quantile(of_it, 0.35) / step <= norms[part] <= np.quantile(of_it, 0.65) * step


def test_one_record_moves_sums_and_counts_by_what_is_booked(
    setup: tuple[StudyModel, Examples],
) -> None:
    """In deviations of the noise, all that a step releases moves by at most 1/z, whatever the norms."""
    model, examples = setup
    plan = replace(
        PLAN, noise_multiplier=1e-9, sampling_rate=1.0, expected_batch=20.0, adaptive=ADAPTIVE
    )
    offsets = examples.offsets[:-1]
    fewer = Examples(examples.hidden_PD[: offsets[-1]], offsets, examples.targets[:-1])
    start = {"head": 0.7, "adapter": 0.01}
    (whole, after), (without, others) = (
        ended((model, data), plan, start) for data in (examples, fewer)
    )
    shares = {"head": 1 - plan.adapter_share, "adapter": plan.adapter_share}
    moved = []
    for part, norm in start.items():
        named = [n for n in whole if n.startswith("head.") == (part == "head")]
        length = tensors.norm({n: (whole[n] - without[n]) * plan.expected_batch for n in named})
        assert 0 < length <= norm * 1.001
        moved.append(length / (plan.gradient_noise * norm / shares[part] ** 0.5))
        counted = np.log(others[part] / after[part]) / ADAPTIVE.learning_rate * plan.expected_batch
        assert abs(counted) == pytest.approx(0.5, abs=1e-3)
        moved.append(abs(counted) / ADAPTIVE.count_deviation(plan.noise_multiplier, 2))
    assert np.linalg.norm(moved) <= 1.001 / plan.noise_multiplier


def test_a_parts_noise_moves_with_its_norm_and_the_counts_have_theirs(
    setup: tuple[StudyModel, Examples],
) -> None:
    """Of a sample of nobody the noise alone is seen: of each part, and of each count."""
    plan = replace(
        PLAN, noise_multiplier=3.0, sampling_rate=1e-12, expected_batch=50.0, adaptive=ADAPTIVE
    )
    start = {"head": 0.7, "adapter": 0.01}
    change, _ = ended(setup, plan, start)
    shares = {"head": 1 - plan.adapter_share, "adapter": plan.adapter_share}
    for part, norm in start.items():
        noise = torch.cat(
            [t.flatten() for n, t in change.items() if n.startswith("head.") == (part == "head")]
        )
        expected = 3.0 / (1 - 0.1) ** 0.5 * norm / shares[part] ** 0.5 / plan.expected_batch
        bound = 4 * expected / (2 * len(noise)) ** 0.5
        assert float(noise.square().mean().sqrt()) == pytest.approx(expected, abs=bound)
    norms, counted = start, []
    many = replace(plan, steps=1, expected_batch=5000.0)
    model, examples = setup
    for seed in range(60):
        after = dict(norms)
        streams = partial(Randomness.from_seed, seed)
        train(model, examples, many, TERMS, streams, lambda _a, _b: None, after)
        for part, norm in norms.items():
            counted.append(np.log(norm / after[part]) / ADAPTIVE.learning_rate * 5000.0)
    expected = 3.0 * (2 / 0.1) ** 0.5 / 2
    assert np.std(counted) == pytest.approx(expected, rel=4 / (2 * len(counted)) ** 0.5)


# Correlated noise


def test_the_noise_of_the_steps_is_correlated_by_the_strategy(
    setup: tuple[StudyModel, Examples],
) -> None:
    """Of samples of nobody each step moves the model by its noise alone: their covariance over the
    trained numbers is that of C⁻¹z.
    """
    model, examples = setup
    plan = replace(
        PLAN, noise_multiplier=3.0, sampling_rate=1e-12, expected_batch=50.0, steps=6, bands=3
    )
    terms = TERMS.model_copy(update={"rounds": 4, "local_steps": 6})
    seen = []

    def watch(_done: int, _of: int) -> None:
        trained = [t for t in model.named_tensors().values() if t.requires_grad]
        seen.append(torch.cat([t.detach().flatten() for t in trained]).clone())

    before = model.exchanged()
    noises = []
    for seed in range(30):
        seen.clear()
        watch(0, 0)
        train(model, examples, plan, terms, partial(Randomness.from_seed, seed), watch)
        noises.append(torch.stack(seen).diff(dim=0))
        model.load(before, "before")
    noise = torch.cat(noises, dim=1).double().numpy()
    noise /= 3.0 * PLAN.clipping_norm / plan.expected_batch
    inverse = np.linalg.inv(BandedNoise(3, 6, 4).strategy)
    expected = inverse @ inverse.T
    assert abs(expected[1, 0]) > 0.5
    found = noise @ noise.T / noise.shape[1]
    deviation = np.sqrt(np.outer(*[np.diag(expected)] * 2) + expected**2) / noise.shape[1] ** 0.5
    assert (np.abs(found - expected) <= 5 * deviation).all()


def test_a_step_with_bands_is_still_the_clipped_sum_of_its_own_part(
    setup: tuple[StudyModel, Examples],
) -> None:
    model, examples = setup
    plan = replace(PLAN, steps=2, bands=2, sampling_rate=0.5)
    samples = list(plan.batches(len(examples), Randomness.from_seed(0, "sample")))
    assert len(np.concatenate(samples)) == len(examples) == len(set(np.concatenate(samples)))
    still = TERMS.model_copy(update={"learning_rate": 1e-3, "rounds": 3, "local_steps": 2})
    bounds = plan.clipping_norms(head=True, adapter=True)
    expected = [clipped_sum(model, examples, sample, bounds) for sample in samples]
    change = run(model, examples, plan, terms=still)
    for name, tensor in change.items():
        total = -1e-3 * (expected[0][name] + expected[1][name]) / plan.expected_batch
        torch.testing.assert_close(tensor, total, atol=2e-7, rtol=2e-2)


# Noise that is added later, under the masks


def test_with_distributed_noise_the_change_is_the_clipped_sum_and_nothing_else(
    setup: tuple[StudyModel, Examples],
) -> None:
    model, examples = setup
    plan = replace(PLAN, noise_multiplier=5.0, noise="distributed")
    (sample,) = plan.batches(len(examples), Randomness.from_seed(0, "sample"))
    expected = clipped_sum(model, examples, sample, plan.clipping_norms(head=True, adapter=True))
    terms = TERMS.model_copy(update={"learning_rate": 0.25})
    streams = partial(Randomness.from_seed, 0)
    exact = train(model, examples, plan, terms, streams, lambda _a, _b: None)
    for name, total in expected.items():
        moved = -0.25 * total / plan.expected_batch
        torch.testing.assert_close(exact[name], moved, atol=1e-7, rtol=1e-4)


def test_with_distributed_noise_nobody_in_the_sample_is_no_reason_to_refuse(
    setup: tuple[StudyModel, Examples],
) -> None:
    """The refusal would say so: no noise covers it."""
    model, examples = setup
    plan = replace(PLAN, sampling_rate=1e-12, noise="distributed")
    streams = partial(Randomness.from_seed, 0)
    exact = train(model, examples, plan, TERMS, streams, lambda _a, _b: None)
    assert exact
    assert not any(bool(change.count_nonzero()) for change in exact.values())


@pytest.mark.parametrize(
    "change",
    [{"steps": 2}, {"mechanism": "none"}, {"adaptive": ADAPTIVE}, {"bands": 2, "steps": 2}],
)
def test_distributed_noise_is_for_one_private_step(change: dict[str, object]) -> None:
    with pytest.raises(PrivacyError):
        replace(PLAN, **{"noise": "distributed", **change})
