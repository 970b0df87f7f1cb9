"""Text classification: labels, standardised features, and scores that others compute the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import texts
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from fedward_shared import tasks
from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import DataError
from fedward_shared.tasks.classification import TextClassifier, macro_f1

HEAD_ONLY = AdapterTerms(method="head-only")


def build(folder: Path, task: TaskTerms, adapter: AdapterTerms) -> TextClassifier:
    model = tasks.build(folder, task, adapter)
    assert isinstance(model, TextClassifier)
    return model


def test_an_unknown_label_is_named(
    tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> None:
    model = build(tiny_bert_folder, task, adapter)
    with pytest.raises(DataError, match="label: 'liver' is not among the charter's labels"):
        model.prepare({"text": ["a", "b"], "label": ["bone", "liver"]})


def test_targets_are_places_in_the_charters_list(
    tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> None:
    columns = {"text": ["x", "y", "z"], "label": ["heart", "bone", "heart"]}
    assert build(tiny_bert_folder, task, adapter).prepare(columns).targets.tolist() == [1, 0, 1]


def test_a_long_text_is_cut_at_the_charters_length(
    tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> None:
    columns = {"text": ["heart " * 50, "heart"], "label": ["bone", "heart"]}
    examples = build(tiny_bert_folder, task, adapter).prepare(columns)
    assert list(examples.lengths) == [task.max_tokens, 3]


def test_head_only_keeps_the_mean_of_each_record(
    tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> None:
    columns = texts(6)
    head_only = build(tiny_bert_folder, task, HEAD_ONLY)
    examples = head_only.prepare(columns)
    assert list(examples.lengths) == [1] * 6
    whole = build(tiny_bert_folder, task, adapter)
    with torch.no_grad():
        ours = head_only.pooled(examples.batch(np.arange(6)))
        theirs = whole.pooled(whole.prepare(columns).batch(np.arange(6)))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["head-only", "ffa-lora"])
def test_measure_standardises_and_gives_unit_length(
    method: str, tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> None:
    model = build(tiny_bert_folder, task, HEAD_ONLY if method == "head-only" else adapter)
    examples = model.prepare(texts(30))
    model.measure(examples)
    with torch.no_grad():
        pooled_ND = model.pooled(examples.batch(np.arange(30)))
        features_ND = (pooled_ND - model.get_buffer("mean")) / model.get_buffer("scale")
    assert float(features_ND.mean(dim=0).abs().max()) < 1e-5
    assert float(features_ND.norm(dim=1).mean()) == pytest.approx(1, abs=1e-4)
    deviation_D = features_ND.std(dim=0)
    torch.testing.assert_close(deviation_D, deviation_D.mean().expand(32), atol=1e-5, rtol=1e-3)
    with torch.no_grad():
        model.head.weight.copy_(torch.arange(64.0).reshape(2, 32))
        scores = model.logits(examples.batch(np.arange(30)))
    torch.testing.assert_close(scores, features_ND @ model.head.weight.T, atol=1e-3, rtol=1e-4)


def test_measure_of_equal_texts_stays_finite(tiny_bert_folder: Path, task: TaskTerms) -> None:
    model = build(tiny_bert_folder, task, HEAD_ONLY)
    model.measure(model.prepare({"text": ["heart"] * 4, "label": ["heart"] * 4}))
    assert bool(torch.isfinite(model.get_buffer("scale")).all())


def test_scores_are_those_of_an_independent_reckoning(
    tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> None:
    model = build(tiny_bert_folder, task, adapter)
    columns = texts(21)
    columns["label"][4:9] = ["heart"] * 5
    columns["text"][0] += " and of the left heart"
    examples = model.prepare(columns)
    model.measure(examples)
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(0))
        logits = model.logits(examples.batch(np.arange(21))).double().numpy()
    true = np.array([int(label == "heart") for label in columns["label"]])
    predicted = logits.argmax(axis=1)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert list(model.predict(examples)) == list(predicted)
    assert 0 < (true == predicted).mean() < 1
    assert model.evaluate(examples) == {
        "loss": pytest.approx(-logs[np.arange(21), true].mean(), rel=1e-5),
        "accuracy": pytest.approx((true == predicted).mean()),
        "macro_f1": pytest.approx(f1_score(true, predicted, average="macro")),
    }


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_macro_f1_is_that_of_scikit_learn_over_the_classes_that_occur(
    pairs: list[tuple[int, int]],
) -> None:
    true, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    theirs = f1_score(
        true, predicted, average="macro", labels=sorted(set(true.tolist())), zero_division=0.0
    )
    assert macro_f1(true, predicted) == pytest.approx(theirs)


def test_a_head_that_starts_at_the_names_prefers_a_text_that_is_a_name(
    tiny_bert_folder: Path, task: TaskTerms
) -> None:
    model = build(tiny_bert_folder, task, HEAD_ONLY)
    model.measure(model.prepare(texts(10)))
    model.start_at_names(5.0)
    assert torch.allclose(model.head.weight.norm(dim=1), torch.tensor(5.0))
    names = model.prepare({"text": list(task.labels), "label": list(task.labels)})
    assert list(model.predict(names)) == [0, 1]


def test_aimed_at_texts_a_holds_their_principal_directions_but_the_first(
    tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> None:
    """Held against a singular value decomposition of the layer's inputs, token by token."""
    model = build(tiny_bert_folder, task, adapter)
    examples = model.prepare(texts(20))
    model.aim(examples)
    directions_II = torch.linalg.svd(examples.hidden_PD.double(), full_matrices=False).Vh
    for name, value in model.named_tensors().items():
        if "lora_A" in name:
            cosines = (value.double() * directions_II[1 : len(value) + 1]).sum(dim=1).abs()
            torch.testing.assert_close(cosines, torch.ones_like(cosines), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("aimed", "met"), [("query", "key"), ("key", "query"), ("value", "value")])
def test_aimed_at_texts_output_directions_are_those_of_what_the_output_meets(
    tiny_bert_folder: Path, task: TaskTerms, aimed: str, met: str
) -> None:
    """Held against a singular value decomposition of that module's outputs, record by record."""
    adapter = AdapterTerms(method="lora-xs", rank=3, target_modules=(aimed,), layers=(1,))
    model = build(tiny_bert_folder, task, adapter)
    examples = model.prepare(texts(20))
    model.aim(examples)
    module = dict(model.body.named_modules())[
        f"base_model.model.encoder.layer.1.attention.self.{met}"
    ]
    with torch.no_grad():
        outputs_PO = module(examples.hidden_PD).double()
    centred = [
        piece - piece.mean(dim=0)
        for piece in torch.tensor_split(outputs_PO, torch.from_numpy(examples.offsets[1:-1]))
    ]
    directions_OO = torch.linalg.svd(torch.cat(centred), full_matrices=False).Vh
    (name,) = (n for n in model.named_tensors() if n.endswith("outputs.weight"))
    found_RO = model.named_tensors()[name].detach().double().T
    cosines_R = (found_RO * directions_OO[:3]).sum(dim=1).abs()
    torch.testing.assert_close(cosines_R, torch.ones_like(cosines_R), atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", ["lora-xs", "ffa-lora"])
def test_aiming_changes_no_score(
    method: str, tiny_bert_folder: Path, task: TaskTerms, adapter: AdapterTerms
) -> None:
    fields = {**adapter.model_dump(), "method": method}
    model = build(tiny_bert_folder, task, AdapterTerms.model_validate(fields))
    examples = model.prepare(texts(20))
    before = model.evaluate(examples)
    model.aim(examples)
    assert model.evaluate(examples) == before
