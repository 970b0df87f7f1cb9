"""What crosses in which round, known by names alone: it is what the model itself would say."""

from pathlib import Path

import pytest
from conftest import adapter_terms, key_of, small_charter

from fedward_shared import adapters, names, tasks, tensors
from fedward_shared.charter_terms import Participant, TaskTerms, TrainingTerms
from fedward_shared.names import METHODS

TRAINING = TrainingTerms(rounds=4, local_steps=1, head_rounds=1, learning_rate=1.0)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_what_is_sent_is_the_models_own_without_the_model(
    method: str, tiny_bert_folder: Path, task: TaskTerms
) -> None:
    ranks = {"north": None, "south": 1 if METHODS[method].mixed_ranks else None}
    charter = small_charter(
        "sha256:" + "0" * 64,
        task=task,
        adapter=adapter_terms(method),
        training=TRAINING,
        participants=tuple(
            Participant(name=name, records=100, key=key_of(name).public.text, rank=rank)
            for name, rank in ranks.items()
        ),
    )
    whole = tasks.build(tiny_bert_folder, task, charter.adapter)
    initial = {n: t for n, t in whole.named_tensors().items() if names.part_of(n) != "moved"}
    schema = tensors.schema_of(initial)
    for site in ranks:
        model = tasks.build(tiny_bert_folder, task, charter.adapter_at(site))
        for number in (1, 2, 3, 4):
            model.enter_round(number, TRAINING)
            sent = charter.sent(schema, site, number)
            assert sent == tensors.schema_of(model.exchanged())
            assert set(sent) <= set(charter.handed_out(schema)) | set(schema)
    own = tensors.schema_of(whole.named_tensors())
    assert charter.handed_out(schema).items() <= own.items()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_site_gets_what_changes_in_the_study_and_no_more(method: str) -> None:
    traffic = METHODS[method]
    changing = {part for turn in traffic.trains for part in turn}
    if method == "flora":
        assert traffic.kept == ("moved",)  # A and B are fresh in every round
    else:
        assert changing <= set(traffic.kept)
    assert traffic.moves_base == ("moved" in traffic.kept)
    plain = type(adapters.averaging(method)).part is adapters.Averaging.part
    assert plain == (not traffic.each)  # who needs more than a sum says so


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("base_model.model.l.0.q.lora_A.weight", "A"),
        ("base_model.model.l.0.q.lora_B.weight", "B"),
        ("base_model.model.l.0.q.lora_B.core.weight", "B"),
        ("base_model.model.l.0.q.lora_B.outputs.weight", "fixed"),
        ("base_model.model.l.0.q.moved", "moved"),
        ("prompt_encoder.embedding.weight", "prefix"),
        ("head.weight", "head"),
        ("head.bias", "head"),
        ("head.mean", "fixed"),
        ("w", "fixed"),
    ],
)
def test_a_name_says_what_a_tensor_is(name: str, part: str) -> None:
    assert names.part_of(name) == part


def test_factors_alternate_under_rolora() -> None:
    a, b = "l.q.lora_A.weight", "l.q.lora_B.weight"
    turns = [[names.trains(name, "rolora", turn) for name in (a, b)] for turn in range(5)]
    assert turns == [[False, False], [False, True], [True, False], [False, True], [True, False]]
