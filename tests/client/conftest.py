"""Sites with 24 records and an approved charter."""

from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
import tomli_w
from client.home import (
    BUDGET,
    DELTA,
    NOON,
    ROUND,
    Home,
    requested,
)
from client.steps import model_and_examples
from conftest import COORDINATOR, LABELS, adapter_terms, key_of, texts
from flwr.supercore.task_identity import TaskIdentity

from fedward_client import consent
from fedward_client.settings import load as load_settings
from fedward_client.site import Site
from fedward_shared import (
    adapters,
    base_models,
    records,
    tasks,
    tensors,
)
from fedward_shared import charter as charters
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
from fedward_shared.messages import (
    TrainRequest,
)
from fedward_shared.tasks.base import StudyModel
from fedward_shared.tasks.examples import Examples


@pytest.fixture(scope="module")
def sent(
    tiny_bert_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainRequest]:
    """The charter's folder, and the request for round 1 of its study."""
    task = TaskTerms(kind="text-classification", labels=LABELS, max_tokens=16)
    adapter = AdapterTerms(method="ffa-lora", rank=2, target_modules=("query",), layers=(1,))
    model = tasks.build(tiny_bert_folder, task, adapter)
    model.load(adapters.initial(model.body, 0), "initial adapter")
    initial = {name: tensor.detach().clone() for name, tensor in model.named_tensors().items()}
    charter = Charter(
        study="diagnoses",
        purpose="test",
        legal_basis="test",
        expires=date(2100, 1, 1),
        coordinator=Party(name="university", key=COORDINATOR.public.text),
        dataset="records",
        base_model=BaseModelTerms(digest=base_models.digest(tiny_bert_folder)),
        initial=tensors.digest(initial),
        task=task,
        adapter=adapter,
        privacy=PrivacyTerms(
            epsilon=BUDGET,
            delta=DELTA,
            noise_multiplier=ROUND.noise_multiplier,
            sampling_rate=ROUND.sampling_rate,
        ),
        training=TrainingTerms(rounds=2, local_steps=ROUND.steps, learning_rate=0.5),
        aggregation=AggregationTerms(minimum_cohort=1),
        participants=(Participant(name="north", records=24, key=key_of("north").public.text),),
    )
    folder = tmp_path_factory.mktemp("sent")
    charters.save(folder, charter, initial, COORDINATOR)
    return folder, requested(charter, 1, tensors.encode(model.exchanged()))


@pytest.fixture
def found(
    tmp_path: Path, tiny_bert_folder: Path, sent: tuple[Path, TrainRequest]
) -> Callable[[str], Home]:
    """Founds a site of the name north in a folder, with 24 records and an approved charter."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    source, request = sent
    settings = {
        "name": "north",
        "coordinators": {"university": COORDINATOR.public.text},
        "base_models": [str(tiny_bert_folder)],
        "minimum_cohort": 1,
        "datasets": {"records": {"path": "records.jsonl", "account": "people", "epsilon": 8.0}},
    }

    def make(name: str) -> Home:
        folder = tmp_path / name
        records.write_jsonl(folder / "records.jsonl", texts(24))
        key_of("north").save(folder / "site.key")
        (folder / "site.toml").write_text(tomli_w.dumps(settings), "utf-8")
        with closing(Site(load_settings(folder / "site.toml"), clock=lambda: NOON)) as site:
            charter, _ = consent.approve(site, source)
        return Home(folder, charter, request)

    return make


@pytest.fixture
def home(found: Callable[[str], Home]) -> Home:
    return found("home")


@pytest.fixture(params=["lora-xs", "ffa-lora", "lora"])
def setup(
    request: pytest.FixtureRequest, tiny_bert_folder: Path, task: TaskTerms
) -> tuple[StudyModel, Examples]:
    return model_and_examples(tiny_bert_folder, task, adapter_terms(request.param))
