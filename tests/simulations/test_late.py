"""Rounds that do not wait for all, by the deployed apps: checkpoints, ledgers, receipts stay right."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import texts

from fedward_client.site import Site
from fedward_server.observer import Observer
from fedward_server.studies import Study
from fedward_shared import audit
from fedward_shared.privacy import accountant
from fedward_shared.report import RoundRecord
from fedward_simulations.consortium import Consortium, Outcome, Recipe, World

SITES = ("east", "north", "south")


@pytest.fixture
def three(world: World) -> World:
    sites = {name: texts(12, 100 * n) for n, name in enumerate(SITES)}
    return replace(world, sites=sites)


def run(
    world: World, recipe: Recipe, terms: Mapping[str, object], observer: Observer | None = None
) -> Outcome:
    training = recipe.training.model_copy(update={"rounds": 4})
    asked = replace(recipe, training=training, aggregation=terms)
    return Consortium(world, observer or Observer()).run("study", asked, 8.0)


def entries(path: Path) -> Iterator[audit.Entry]:
    with closing(Site.open(path)) as site:
        yield from audit.read(path.parent / "state" / "audit.jsonl", site.key.public)


def check_books(outcome: Outcome) -> None:
    """What was counted was made once, is booked and receipted; ε is that of all rounds booked."""
    kept = outcome.study.history[1:]
    counted = Counter(update for checkpoint in kept for update in checkpoint.updates.values())
    assert set(counted.values()) == {1}
    for path in outcome.sites:
        name = path.parent.name
        with closing(Site.open(path)) as site:
            rounds = [booking.round for booking in site.ledger.bookings()]
            spent = site.ledger.spending("records").epsilon
        assert len(set(rounds)) == len(rounds)
        schedule = outcome.study.charter.schedule[: len(rounds)]
        assert spent == accountant.epsilon(schedule, outcome.study.charter.privacy.delta)
        made = [
            checkpoint.made_for.get(name, number)
            for number, checkpoint in enumerate(kept, start=1)
            if name in checkpoint.updates
        ]
        assert set(made) <= set(rounds)
        receipted = {e.details["update"] for e in entries(path) if e.event == "received"}
        assert receipted == {c.updates[name] for c in kept if name in c.updates}


def test_a_late_update_counts_in_the_next_round(three: World, recipe: Recipe) -> None:
    outcome = run(three, recipe, {"minimum_cohort": 2, "enough": 2, "late": "next-round"})
    records = outcome.records
    assert [len(record.cohort) for record in records] == [2] * 4
    assert records[0].missing == {"south": "late: enough others had answered"}
    first, second = outcome.study.history[1:3]
    assert first.late == {"south": 1}
    assert second.made_for == {"south": 1}
    assert [record.bytes_down > 0 for record in records] == [True] * 4
    check_books(outcome)


def test_a_late_update_that_is_dropped_is_paid_all_the_same(three: World, recipe: Recipe) -> None:
    outcome = run(three, recipe, {"minimum_cohort": 2, "enough": 2})
    assert all(not checkpoint.made_for for checkpoint in outcome.study.history)
    check_books(outcome)


def test_a_round_asks_its_cohort(three: World, recipe: Recipe) -> None:
    outcome = run(three, recipe, {"minimum_cohort": 1, "cohort": 2})
    for record in outcome.records:
        (left_out,) = set(SITES) - set(record.cohort)
        assert record.missing == {left_out: "not in this round's cohort"}
    assert len({tuple(record.cohort) for record in outcome.records}) > 1
    check_books(outcome)


@pytest.mark.parametrize("buffer", [1, 2])
def test_a_buffer_steps_without_waiting(three: World, recipe: Recipe, buffer: int) -> None:
    outcome = run(three, recipe, {"minimum_cohort": 1, "buffer": buffer})
    kept = outcome.study.history[1:]
    assert [len(checkpoint.updates) for checkpoint in kept] == [buffer] * 4
    ages = [n - m for n, c in enumerate(kept, start=1) for m in c.made_for.values()]
    assert max(ages) == (2 if buffer == 1 else 1)
    assert {site for checkpoint in kept for site in checkpoint.updates} == set(SITES)
    check_books(outcome)


@pytest.mark.parametrize(
    "terms",
    [
        {"minimum_cohort": 1, "buffer": 1},
        {"minimum_cohort": 2, "enough": 2, "late": "next-round"},
        {"minimum_cohort": 3, "rule": "median", "hostile": 1},
    ],
)
def test_a_study_that_is_cut_off_after_each_round_loses_and_repeats_nothing(
    three: World, recipe: Recipe, terms: Mapping[str, object]
) -> None:
    class PullsThePlug(Observer):
        def round_closed(self, record: RoundRecord) -> None:
            if record.round < 4:
                raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(three, recipe, terms, PullsThePlug())
    outcome = run(three, recipe, terms)
    assert len(outcome.records) == 4
    check_books(outcome)
    if "buffer" in terms:
        assert any(checkpoint.made_for for checkpoint in outcome.study.history)


def test_a_checkpoint_of_a_release_without_late_updates_is_read(
    three: World, recipe: Recipe
) -> None:
    outcome = run(three, recipe, {"minimum_cohort": 3})
    path = outcome.study.folder / "rounds" / "0002.json"
    content = json.loads(path.read_bytes())
    assert content.pop("late") == content.pop("made_for") == {}
    path.write_text(json.dumps(content), "utf-8")
    study = Study(outcome.study.folder)
    study.read()
    assert study.rounds_done == 4
