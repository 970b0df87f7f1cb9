"""Entities are learnt under DP by the deployed code: draft, approval, rounds, evaluation, release."""

import json
import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from fedward_server.observer import Observer
from fedward_shared import release, tasks, tensors
from fedward_shared.annotation.documents import Document, Entity
from fedward_shared.charter_terms import AdapterTerms, TaskTerms, TrainingTerms
from fedward_shared.errors import CohortError
from fedward_shared.tasks.base import Columns
from fedward_shared.tasks.tagging import TokenClassifier, span_scores
from fedward_simulations.consortium import Consortium, Recipe, World
from fedward_simulations.data import base_models, wards

LABELS = ("dose", "duration")
TASK = TaskTerms(kind="token-classification", labels=LABELS, max_tokens=16)
SENTENCES = (
    ("gave {} today", "{} mg", "dose"),
    ("pain since {}", "{} days", "duration"),
    ("fracture of the femur", "", ""),
)
RECIPE = Recipe(
    adapter=AdapterTerms(
        method="lora-xs", rank=8, alpha=16.0, target_modules=("query", "value"), layers=(1,)
    ),
    training=TrainingTerms(
        rounds=10, local_steps=2, head_rounds=7, learning_rate=2.0, head_learning_rate=20.0
    ),
    sampling_rate=0.3,
    server_optimizer="fedavgm",
    server_momentum=0.6,
)
SITES = ("north", "south", "west")


def marked(seed: int, count: int) -> list[Document]:
    """Sentences in which a number is of a dose or of a duration."""
    chosen = random.Random(seed)
    found = []
    for _ in range(count):
        sentence, form, label = chosen.choice(SENTENCES)
        form = form.format(chosen.choice("2345"))
        text, start = sentence.format(form), sentence.find("{")
        own = (Entity(start=start, end=start + len(form), label=label),) if label else ()
        found.append(Document(text=text, entities=own))
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [document.text for document in marked(9, 60)]
    return base_models.tiny_bert(tmp_path_factory.mktemp("bert"), 0, texts)


@pytest.fixture
def ward_world(tmp_path: Path, model: Path) -> World:
    return World(
        folder=tmp_path / "studies",
        base_model=model,
        task=TASK,
        sites={name: wards.columns(marked(i, 600)) for i, name in enumerate(SITES)},
        evaluation=wards.columns(marked(10, 200)),
        public=wards.columns(marked(11, 100)),
        purpose="test",
        delta=1e-5,
        seed=0,
        threads=1,
        engine="in-process",
    )


def most_frequent(model: TokenClassifier, train: list[Columns], held_out: Columns) -> float:
    """Span-F1 of giving each token of the vocabulary its most frequent tag over all sites' records."""
    seen: dict[int, Counter[int]] = defaultdict(Counter)
    for columns in train:
        for ids, tags in zip(*model.tokenise(columns), strict=True):
            for token, tag in zip(ids, tags, strict=True):
                seen[token][tag] += 1
    pairs = []
    for ids, tags in zip(*model.tokenise(held_out), strict=True):
        best = [seen[t].most_common(1)[0][0] if seen[t] else 0 for t in ids[1:-1]]
        pairs.append((model._spans(best), model._spans(tags[1:-1])))
    return span_scores(pairs)["span_f1"]


def test_entities_are_learnt_with_privacy(ward_world: World, tmp_path: Path) -> None:
    """Better than the most frequent tag of each token: numbers are a dose's or a duration's by what
    stands beside them."""
    consortium = Consortium(ward_world, Observer())
    outcome = consortium.run("study", RECIPE, 8.0)
    assert outcome.epsilon is not None
    assert outcome.epsilon <= 8.0
    trained = consortium.model(outcome)
    assert isinstance(trained, TokenClassifier)
    baseline = most_frequent(trained, list(ward_world.sites.values()), ward_world.evaluation)
    assert baseline < 0.6
    assert outcome.metrics["span_f1"] > 0.9
    (found,) = trained.find(["gave 5 mg today"])
    assert [(e.label, e.text) for e in found] == [("dose", "5 mg")]
    folder = tmp_path / "release"
    release.write(trained, outcome.study.charter, outcome.epsilon, folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["outputs"][:3] == ["O", "B-dose", "I-dose"]
    assert manifest["task"]["kind"] == "token-classification"
    again = tasks.build(ward_world.base_model, TASK, AdapterTerms(method="head-only"))
    head = tensors.decode((folder / "head.safetensors").read_bytes(), "head")
    again.load(head, "release")


def test_a_site_without_an_entity_refuses(ward_world: World) -> None:
    unmarked = {"text": ward_world.sites["north"]["text"], "entities": ["[]"] * 600}
    world = replace(ward_world, sites={**ward_world.sites, "north": unmarked})
    with pytest.raises(CohortError, match="north: refused: data"):
        Consortium(world, Observer()).run("study", RECIPE, 8.0)


def test_made_notes_are_marked_where_they_stand() -> None:
    labels = set()
    for document in wards.drawn(0, 200):
        document.check("made")
        for entity in document.entities:
            labels.add(entity.label)
            assert document.at(entity) == document.at(entity).strip() != ""
    assert labels == set(wards.LABELS)
    known = {d.at(e) for d in wards.drawn(0, 300, (0,)) for e in d.entities if e.label == "drug"}
    other = {d.at(e) for d in wards.drawn(1, 300, (1,)) for e in d.entities if e.label == "drug"}
    assert known | other <= set(wards.DRUGS)
    assert not known & other
