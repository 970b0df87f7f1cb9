"""A rehearsal runs the site's own code on invented records, and touches nothing that is private."""

from pathlib import Path

import pytest
from conftest import texts

from fedward_client import rehearsal
from fedward_client.site import Site
from fedward_server.observer import Observer
from fedward_shared import charter as charters
from fedward_shared import pretrained, records, tasks
from fedward_shared.charter_terms import AdapterTerms, TaskTerms
from fedward_shared.errors import CharterError
from fedward_shared.privacy import accountant
from fedward_simulations.consortium import Consortium, Recipe, World


def prepared(world: World, recipe: Recipe) -> tuple[Path, Path]:
    folder, settings = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    return folder, settings[0]


def test_the_forecast_is_of_the_charters_own_rounds(
    world: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, settings = prepared(world, recipe)

    def never(path: Path) -> bytes:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(records, "read_bytes", never)
    site = Site.open(settings)
    charter, initial = charters.load(folder)
    said: list[str] = []
    before = len(site.audit.entries)
    forecast = rehearsal.rehearse(charter, initial, site, said.append)
    assert forecast.records == 24
    assert forecast.head_round is None
    assert forecast.full_round is not None
    assert forecast.seconds == pytest.approx(forecast.encoding + 2 * forecast.full_round)
    assert forecast.epsilon == accountant.epsilon(charter.schedule, 1e-5)
    assert forecast.memory > 50 * 2**20
    assert forecast.bytes_up > 1000
    assert said == ["inventing 24 records", "a round with adapters"]
    assert site.ledger.spending("records").bookings == 0
    assert len(site.audit.entries) == before
    assert ("records", "24, invented") in forecast.sentences()
    site.close()


def test_patients_are_rehearsed_with_a_record_each(world: World, recipe: Recipe) -> None:
    folder, settings = prepared(world, recipe)
    text = settings.read_text("utf-8")
    settings.write_text(text.replace("account =", 'owner = "patient"\naccount ='), "utf-8")
    site = Site.open(settings)
    charter, initial = charters.load(folder)
    privacy = charter.privacy.model_copy(update={"unit": "patient"})
    of_patients = charter.model_copy(update={"privacy": privacy})
    forecast = rehearsal.rehearse(of_patients, initial, site, lambda _: None)
    assert ("records", "24, invented, one for each patient") in forecast.sentences()
    assert forecast.epsilon == accountant.epsilon(charter.schedule, 1e-5)
    site.close()


def test_what_the_rules_forbid_is_not_rehearsed(world: World, recipe: Recipe) -> None:
    folder, settings = prepared(world, recipe)
    text = settings.read_text("utf-8")
    settings.write_text(text.replace("minimum_cohort = 2", "minimum_cohort = 3"), "utf-8")
    site = Site.open(settings)
    with pytest.raises(CharterError, match="minimum_cohort"):
        rehearsal.rehearse(*charters.load(folder), site, lambda _: None)
    site.close()


@pytest.mark.parametrize("kind", ["text-classification", "token-classification", "causal-lm"])
def test_invented_records_fit_the_task(
    kind: str, tiny_bert_folder: Path, tiny_llama_folder: Path
) -> None:
    classifies = kind != "causal-lm"
    task = TaskTerms.model_validate({"kind": kind, "labels": ("a", "b") if classifies else ()})
    folder = tiny_bert_folder if classifies else tiny_llama_folder
    found = rehearsal.invented(task, 9, pretrained.load_tokenizer(folder))
    assert {len(values) for values in found.values()} == {9}
    assert set(found) == set(tasks.KINDS[kind].roles)
    if classifies:
        model = tasks.build(folder, task, AdapterTerms(method="head-only"))
        assert not model.prepare(found).single_class
    assert not set(next(iter(found.values()))) & set(texts(9)["text"])
