"""Fixtures that several packages' tests share: tiny models, and consortia of tiny sites.

What trains is imported where it is used: of several workers' pytest, the first only hands out tests.
"""

import hashlib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from fedward_shared.charter import Charter
from fedward_shared.charter_terms import (
    AdapterTerms,
    AggregationTerms,
    BaseModelTerms,
    Participant,
    Party,
    PrivacyTerms,
    TaskTerms,
    TrainingTerms,
)
from fedward_shared.identity import SigningKey

if TYPE_CHECKING:
    from fedward_simulations.consortium import Recipe, World

# How long an example takes is the machine's business, not the test's.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def key_of(name: str) -> SigningKey:
    """The key of the party called `name`, in every test."""
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


COORDINATOR = key_of("university")
LABELS = ("bone", "heart")
TEXTS = {"bone": "fracture of the left femur", "heart": "acute infarction of the heart"}


@pytest.fixture(scope="session")
def tiny_bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fedward_simulations.data import base_models

    return base_models.tiny_bert(tmp_path_factory.mktemp("bert"), 0, TEXTS.values())


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fedward_simulations.data import base_models

    return base_models.tiny_llama(tmp_path_factory.mktemp("llama"), 0, TEXTS.values())


@pytest.fixture
def task() -> TaskTerms:
    return TaskTerms(kind="text-classification", labels=LABELS, max_tokens=16)


@pytest.fixture
def adapter() -> AdapterTerms:
    return AdapterTerms(
        method="ffa-lora", rank=2, alpha=2.0, target_modules=("query", "value"), layers=(1,)
    )


def adapter_terms(method: str, rank: int = 2) -> AdapterTerms:
    """An adapter of this method for the tiny BERT, which has two layers."""
    if method == "head-only":
        return AdapterTerms(method="head-only")
    prefix = method == "prefix-tuning"
    fields = {
        "method": method,
        "rank": rank,
        "alpha": float(rank),
        "target_modules": () if prefix else ("query", "value"),
        "layers": (0, 1) if prefix else (1,),
    }
    return AdapterTerms.model_validate(fields)


def texts(count: int, offset: int = 0) -> dict[str, list[str]]:
    """`count` records, both labels in turn, no two texts alike."""
    labels = [LABELS[i % 2] for i in range(count)]
    return {
        "text": [f"{TEXTS[label]} {i + offset}" for i, label in enumerate(labels)],
        "label": labels,
    }


def small_charter(initial: str, **changes: object) -> Charter:
    """A valid charter of one site and one round over the tensors with the digest `initial`."""
    terms: dict[str, object] = {
        "study": "test",
        "purpose": "test",
        "legal_basis": "test",
        "expires": date(2100, 1, 1),
        "coordinator": Party(name="university", key=COORDINATOR.public.text),
        "dataset": "records",
        "base_model": BaseModelTerms(digest="sha256:" + "0" * 64),
        "initial": initial,
        "task": TaskTerms(kind="text-classification", labels=LABELS),
        "adapter": AdapterTerms(method="head-only"),
        "privacy": PrivacyTerms(epsilon=2.0, noise_multiplier=6.0, sampling_rate=0.1),
        "training": TrainingTerms(rounds=1, local_steps=1, learning_rate=1.0),
        "aggregation": AggregationTerms(minimum_cohort=1),
        "participants": (Participant(name="north", records=100, key=key_of("north").public.text),),
    }
    return Charter.model_validate(terms | changes)


@pytest.fixture
def recipe(adapter: AdapterTerms) -> "Recipe":
    from fedward_simulations.consortium import Recipe

    return Recipe(
        adapter=adapter,
        training=TrainingTerms(rounds=2, local_steps=2, learning_rate=0.5),
        sampling_rate=0.5,
    )


@pytest.fixture
def world(tmp_path: Path, tiny_bert_folder: Path, task: TaskTerms) -> "World":
    from fedward_simulations.consortium import World

    return World(
        folder=tmp_path / "studies",
        base_model=tiny_bert_folder,
        task=task,
        sites={"north": texts(24), "south": texts(20, 100)},
        evaluation=texts(10, 200),
        public=texts(10, 300),
        purpose="test",
        delta=1e-5,
        seed=0,
        threads=1,
        engine="in-process",
    )
