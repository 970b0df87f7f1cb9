"""Named-entity recognition: tags of tokens, per-record losses, and scores computed by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import adapter_terms
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared import tasks
from fedward_shared.charter_terms import TaskTerms
from fedward_shared.errors import DataError
from fedward_shared.tasks.examples import IGNORED
from fedward_shared.tasks.tagging import TokenClassifier, span_scores, tag_names

TASK = TaskTerms(kind="token-classification", labels=("site", "event"), max_tokens=16)
TEXT = "acute infarction of the heart"


def build(folder: Path, method: str = "ffa-lora", task: TaskTerms = TASK) -> TokenClassifier:
    model = tasks.build(folder, task, adapter_terms(method))
    assert isinstance(model, TokenClassifier)
    return model


def marks(*entities: tuple[int, int, str], **more: object) -> str:
    return json.dumps([{"start": a, "end": b, "label": label, **more} for a, b, label in entities])


def one(entities: str, text: str = TEXT) -> dict[str, list[str]]:
    return {"text": [text], "entities": [entities]}


def test_tags_are_in_the_charters_order(tiny_bert_folder: Path) -> None:
    assert tag_names(TASK.labels) == ["O", "B-site", "I-site", "B-event", "I-event"]
    model = build(tiny_bert_folder)
    targets = model.prepare(one(marks((0, 16, "event"), (24, 29, "site")))).targets
    assert targets.tolist() == [IGNORED, 3, 4, 0, 0, 1, IGNORED]


def test_a_word_of_several_tokens_is_one_entity(tiny_bert_folder: Path) -> None:
    """What the vocabulary does not have is made of characters."""
    model = build(tiny_bert_folder)
    targets = model.prepare(one(marks((0, 4, "site")), "hate the heart")).targets.tolist()
    assert targets[:5] == [IGNORED, 1, 2, 2, 2]
    assert set(targets[5:-1]) == {0}


def test_what_is_beyond_the_charters_length_is_cut(tiny_bert_folder: Path) -> None:
    text = "heart " * 30
    found = build(tiny_bert_folder).prepare(one(marks((0, 5, "site"), (150, 155, "site")), text))
    assert found.targets.tolist() == [IGNORED, 1, *[0] * 13, IGNORED]


@pytest.mark.parametrize(
    ("entities", "text", "message"),
    [
        (marks((24, 29, "organ")), TEXT, "record 1: 'organ' is not among the charter's labels"),
        (marks((0, 5, "site"), (3, 8, "site")), TEXT, "record 1: two entities overlap at 3"),
        (marks((24, 30, "site")), TEXT, "record 1: an offset does not fit the text"),
        (marks((23, 28, "site"), text="heart"), TEXT, "record 1: an offset does not fit the text"),
        ("heart", TEXT, "entities: record 1: file: Invalid JSON"),
        ("[]", " ", "text: record 1 is empty"),
    ],
)
def test_a_record_that_cannot_be_tagged_is_named(
    entities: str, text: str, message: str, tiny_bert_folder: Path
) -> None:
    with pytest.raises(DataError, match=message):
        build(tiny_bert_folder).prepare(one(entities, text))


@pytest.mark.parametrize("method", ["head-only", "ffa-lora", "prefix-tuning"])
def test_the_loss_is_the_mean_over_a_records_own_tokens(
    method: str, tiny_bert_folder: Path
) -> None:
    """Whatever it is padded with, and as plain cross-entropy over the whole body's states has it."""
    model = build(tiny_bert_folder, method)
    with torch.no_grad():
        model.head.weight.copy_(torch.randn(5, 32, generator=torch.Generator().manual_seed(0)))
    texts = [TEXT, "heart"]
    columns = {"text": texts, "entities": [marks((24, 29, "site")), marks((0, 5, "site"))]}
    examples = model.prepare(columns)
    with torch.no_grad():
        together = model(examples.batch(np.arange(2)))
        for place, text in enumerate(texts):
            alone = model(examples.batch(np.array([place])))
            torch.testing.assert_close(together[place], alone[0], atol=1e-5, rtol=1e-5)
            if method == "prefix-tuning":
                continue
            ids = model.tokenizer(text, return_tensors="pt")
            states_TD = model.body(**ids).last_hidden_state[0, 1:-1]
            targets = model.prepare({n: [v[place]] for n, v in columns.items()}).targets[1:-1]
            plain = torch.nn.functional.cross_entropy(model.head(states_TD), targets)
            torch.testing.assert_close(alone[0], plain, atol=1e-5, rtol=1e-5)


def test_measure_looks_at_real_tokens_alone(tiny_bert_folder: Path) -> None:
    model = build(tiny_bert_folder, "head-only")
    examples = model.prepare(model.unlabelled([TEXT, "heart", "fracture of the left femur"]))
    model.measure(examples)
    rows = torch.cat([model.read(batch) for _, batch in model.all_batches(examples)])
    assert len(rows) == 5 + 1 + 5
    features = model.standardised(rows)
    assert float(features.mean(dim=0).abs().max()) < 1e-5
    assert float(features.norm(dim=1).mean()) == pytest.approx(1, abs=1e-4)


def test_scores_by_hand() -> None:
    """Of four entities two are found, with one too many: micro 2·2/(3+4). By label: 2/3 and 1/2."""
    pairs = [
        ([(0, 1, "a"), (2, 4, "b")], [(0, 1, "a"), (2, 3, "b")]),
        ([(5, 6, "b")], [(5, 6, "b"), (7, 8, "a")]),
        ([], []),
    ]
    scores = span_scores(pairs)
    assert scores["span_f1"] == pytest.approx(4 / 7)
    assert scores["macro_span_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert span_scores([([], [])]) == {}
    assert span_scores([([(0, 1, "a")], [])]) == {}


def test_entities_are_found_where_they_stand(tiny_bert_folder: Path) -> None:
    """A head that was fitted to two records says of them what they are."""
    model = build(tiny_bert_folder, "head-only")
    columns = {
        "text": [f"🚀 {TEXT}", "femur"],
        "entities": [marks((2, 18, "event"), (26, 31, "site")), "[]"],
    }
    examples = model.prepare(columns)
    optimizer = torch.optim.Adam([model.head.weight, model.head.bias], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        model(examples.batch(np.arange(2))).sum().backward()
        optimizer.step()
    found = model.find(columns["text"])
    assert [(e.start, e.end, e.label, e.text) for e in found[0]] == [
        (2, 18, "event", "acute infarction"),
        (26, 31, "site", "heart"),
    ]
    assert found[1] == ()
    scores = model.evaluate(examples)
    assert scores["span_f1"] == scores["macro_span_f1"] == 1
    assert "span_f1" not in model.evaluate(model.prepare(model.unlabelled(["femur"])))


@given(st.text("acuteh e🚀胸\n", min_size=1, max_size=12), st.data())
def test_any_text_is_tagged_or_refused(
    tiny_bert_folder: Path, text: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    try:
        examples = build(tiny_bert_folder, "head-only").prepare(
            one(marks((start, end, "site")), text)
        )
    except DataError as error:
        assert "is empty" in str(error)  # noqa: PT017
        return
    assert set(examples.targets.tolist()) <= {IGNORED, 0, 1, 2}


@pytest.mark.parametrize("labels", [(), ("",), ("a", "a")])
def test_terms_without_labels_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="labels"):
        TaskTerms(kind="token-classification", labels=labels)
    assert TaskTerms(kind="token-classification", labels=("a",)).has_head
