"""Records run once through the frozen layers give what the whole model gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from fedward_shared import adapters, tasks
from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import AdapterError, DataError, ModelError
from fedward_shared.tasks import base
from fedward_shared.tasks.base import StudyModel

TEXTS = [
    "fracture of the left femur",
    "heart",
    "acute infarction of the heart, acute fracture of the left femur",
    "",
    "infarction of the left heart",
]
COLUMNS = {
    "text-classification": {"text": TEXTS, "label": ["bone", "heart", "heart", "bone", "heart"]},
    "causal-lm": {"prompt": TEXTS, "completion": ["a", "the left femur", "b c", "heart", "acute"]},
}
MODULES = {"text-classification": ("query", "value"), "causal-lm": ("q_proj", "v_proj")}


def terms(kind: str, max_tokens: int = 24) -> TaskTerms:
    labels = ("bone", "heart") if kind == "text-classification" else ()
    return TaskTerms.model_validate({"kind": kind, "labels": labels, "max_tokens": max_tokens})


def adapter(kind: str, layers: tuple[int, ...], method: str = "lora") -> AdapterTerms:
    fields = {"method": method, "rank": 2, "target_modules": MODULES[kind], "layers": layers}
    return AdapterTerms.model_validate(fields)


def shaken(model: StudyModel) -> StudyModel:
    """The model with random numbers in every tensor that trains."""
    model.load(adapters.initial(model.body, 0), "initial")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.named_tensors().values():
            if tensor.requires_grad:
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model


@pytest.fixture(params=["text-classification", "causal-lm"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(kind: str, tiny_bert_folder: Path, tiny_llama_folder: Path) -> Path:
    return tiny_bert_folder if kind == "text-classification" else tiny_llama_folder


@pytest.mark.parametrize("layers", [(0, 1), (0,), (1,)])
def test_the_prepared_path_is_the_whole_model(
    kind: str, folder: Path, layers: tuple[int, ...]
) -> None:
    model = shaken(tasks.build(folder, terms(kind), adapter(kind, layers)))
    tokens, _ = model.tokenise(COLUMNS[kind])
    examples = model.prepare(COLUMNS[kind])
    assert list(examples.lengths) == [len(ids) for ids in tokens]
    order = np.array([3, 0, 2, 1, 4])
    batch = examples.batch(order)
    with torch.no_grad():
        entered = model.upper(batch.hidden_BTD, batch.mask_BT)[0]
        for row, index in enumerate(order):
            ids = tokens[index]
            whole = model.body(input_ids=torch.tensor([ids]), use_cache=False)[0][0]
            torch.testing.assert_close(entered[row, : len(ids)], whole, atol=1e-5, rtol=1e-5)


def test_the_whole_model_is_whole_again_afterwards(kind: str, folder: Path) -> None:
    model = shaken(tasks.build(folder, terms(kind), adapter(kind, (1,))))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model.body(input_ids=ids, use_cache=False)[0]
        batch = model.prepare(COLUMNS[kind]).batch(np.arange(5))
        model.upper(batch.hidden_BTD, batch.mask_BT)
        with pytest.raises(RuntimeError):
            model.upper(batch.hidden_BTD[:, :, :-1], batch.mask_BT)
        after = model.body(input_ids=ids, use_cache=False)[0]
    assert torch.equal(before, after)


def test_no_record_depends_on_those_it_is_prepared_with(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tasks.build(folder, terms(kind), adapter(kind, (1,)))
    together = model.prepare(COLUMNS[kind])
    monkeypatch.setattr(base, "PREPARE_TOKENS", 30)
    pieces = model.prepare(COLUMNS[kind])
    alone = [model.prepare({k: [v[i]] for k, v in COLUMNS[kind].items()}) for i in range(5)]
    for examples in (pieces.hidden_PD, torch.cat([one.hidden_PD for one in alone])):
        torch.testing.assert_close(together.hidden_PD, examples, atol=1e-5, rtol=1e-5)
    assert torch.equal(together.targets, pieces.targets)
    assert torch.equal(together.targets, torch.cat([one.targets for one in alone]))


def test_a_gradient_flows_into_what_trains_alone(kind: str, folder: Path) -> None:
    model = shaken(tasks.build(folder, terms(kind), adapter(kind, (1,), "ffa-lora")))
    model(model.prepare(COLUMNS[kind]).batch(np.arange(5))).sum().backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {n for n, p in model.named_parameters() if p.requires_grad}
    assert moved


def test_what_is_exchanged_is_a_copy_of_what_trains(kind: str, folder: Path) -> None:
    model = shaken(tasks.build(folder, terms(kind), adapter(kind, (1,), "ffa-lora")))
    exchanged = model.exchanged()
    names = {name for name, tensor in model.named_tensors().items() if tensor.requires_grad}
    assert exchanged.keys() == names
    assert not any(".lora_A." in name for name in names)
    for tensor in exchanged.values():
        tensor.add_(1)
    assert all(
        torch.equal(model.named_tensors()[name] + 1, tensor) for name, tensor in exchanged.items()
    )
    model.load(exchanged, "test")
    assert all(torch.equal(model.exchanged()[name], exchanged[name]) for name in exchanged)


def test_tensors_that_do_not_fit_change_nothing(kind: str, folder: Path) -> None:
    model = shaken(tasks.build(folder, terms(kind), adapter(kind, (1,))))
    before = model.exchanged()
    name = min(before)
    for wrong in ({"unknown": torch.zeros(1)}, {name: torch.zeros(1)}):
        with pytest.raises(AdapterError, match=f"test: .*{next(iter(wrong))}"):
            model.load({**before, **wrong}, "test")
    assert all(torch.equal(model.exchanged()[n], before[n]) for n in before)


def test_no_records_are_refused(kind: str, folder: Path) -> None:
    model = tasks.build(folder, terms(kind), adapter(kind, (1,)))
    with pytest.raises(DataError, match="no records"):
        model.prepare({role: [] for role in model.roles})


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4))


def gemma3() -> PreTrainedModel:
    kinds = ["sliding_attention", "full_attention"]
    config = Gemma3TextConfig(
        **SIZES, vocab_size=300, intermediate_size=64, head_dim=8, layer_types=kinds
    )
    return Gemma3ForCausalLM(config)


def distilbert() -> PreTrainedModel:
    return DistilBertModel(DistilBertConfig(vocab_size=99, dim=32, n_layers=2, n_heads=4))


@pytest.mark.parametrize(
    ("make", "kind", "module", "named"),
    [
        (gpt2, "causal-lm", "c_attn", "computes other values"),
        (gemma3, "causal-lm", "q_proj", "layers of several kinds"),
        (distilbert, "text-classification", "q_lin", "cannot be entered"),
    ],
)
def test_a_model_that_cannot_be_entered_in_the_middle_is_refused(
    make: Callable[[], PreTrainedModel],
    kind: str,
    module: str,
    named: str,
    folder: Path,
    tmp_path: Path,
) -> None:
    make().save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    wanted = adapter(kind, (1,)).model_copy(update={"target_modules": (module,)})
    with pytest.raises(ModelError, match=named):
        tasks.build(tmp_path, terms(kind), wanted)
