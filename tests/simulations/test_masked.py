"""Masked studies through the in-process federation: the sum of the survivors, and nothing besides."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import texts
from flwr.app import Message
from rich.console import Console
from simulations.masks import (
    FOUR,
    STAGES,
    Meddle,
    Reply,
    Seen,
    bookings,
    closeness,
    refuses,
    run,
    undisturbed,
)

from fedward_client.vault import FOLDER
from fedward_server import attempts
from fedward_server.studies import Study
from fedward_shared import records, tensors
from fedward_shared.errors import CohortError, UsageError
from fedward_shared.masked import MaskedTerms
from fedward_shared.messages import Update, answer_from_record
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.secagg.session import HEADER_BYTES
from fedward_simulations.consortium import Recipe, World
from fedward_simulations.scenarios import hospitals

NAMES = [f"site-{number}" for number in range(1, 9)]
SURVIVING = 6
CHI_SQUARE = 80.0
"""15 degrees of freedom exceed it once in 10^10."""


@pytest.fixture
def eight(world: World) -> World:
    sites = {name: texts(12, 100 * n) for n, name in enumerate(NAMES)}
    return replace(world, sites=sites, dropping=len(NAMES) - SURVIVING)


def uneven(numbers: np.ndarray) -> float:
    """Chi-square of the highest four bits of 16-bit numbers, and of the lowest, the larger of both."""
    found = []
    for shift in (12, 0):
        counts = np.bincount((numbers >> shift) & 15, minlength=16)
        expected = numbers.size / 16
        found.append(float(((counts - expected) ** 2 / expected).sum()))
    return max(found)


def numbers(vectors: list[bytes]) -> list[np.ndarray]:
    return [np.frombuffer(vector[HEADER_BYTES:], dtype="<u2") for vector in vectors]


def test_two_of_eight_drop_out_and_the_six_have_the_adapter_of_an_unmasked_run(
    eight: World, masked: Recipe, seen: Seen, tmp_path: Path
) -> None:
    six = replace(masked, aggregation={"minimum_cohort": SURVIVING})
    outcome = run(eight, six)
    vectors = [answer.update for answer in seen if isinstance(answer, Update)]
    [record] = outcome.records
    assert record.cohort == NAMES[:SURVIVING]
    assert record.dropped == dict.fromkeys(NAMES[SURVIVING:], "training")
    assert record.missing == dict.fromkeys(NAMES[SURVIVING:], "training: not connected")

    del seen[:]
    open_recipe = replace(masked, masks=None)
    plain = run(replace(eight, folder=tmp_path / "plain"), open_recipe, SURVIVING)
    updates = [answer for answer in seen if isinstance(answer, Update)]

    # The same adapter, but for the rounding of six updates to steps of the quantiser, and float32.
    charter, start = outcome.study.charter, tensors.schema_of(outcome.study.adapter)
    terms = MaskedTerms(charter, 1, start)
    for name, tensor in outcome.study.adapter.items():
        step = terms.quantiser(name).step
        distance = float((tensor - plain.study.adapter[name]).abs().max())
        moved = float((plain.study.adapter[name] - plain.study.initial[name]).abs().max())
        assert 0 < distance <= step * (1 + 1e-3)
        assert moved > 10 * step, "a bound that anything meets shows nothing"

    # What the coordinator saw of each site is uniform, and so is the sum of it all until it is revealed.
    assert len(vectors) == SURVIVING
    found = numbers(vectors)
    assert uneven(np.concatenate(found)) < CHI_SQUARE
    total = np.sum(found, axis=0, dtype=np.uint16)
    differences = [one - another for one, another in pairwise(found)]
    assert uneven(np.concatenate([total, *differences])) < CHI_SQUARE
    # The same numbers without masks, and their plain sum, are not.
    encoded = [
        terms.encode(tensors.decode(u.update, u.site), u.site, Randomness.from_seed(0, u.site))
        for u in updates
    ]
    assert uneven(np.concatenate(encoded)) > 10 * CHI_SQUARE
    assert uneven(np.sum(encoded, axis=0, dtype=np.uint16)) > CHI_SQUARE


def test_a_site_may_be_lost_in_any_stage(four: World, masked: Recipe, meddle: Meddle) -> None:
    """In each round of one study in another one."""
    training = masked.training.model_copy(update={"rounds": len(STAGES)})

    def lost(site: str, stage: str, _count: int, message: Message, reply: Reply) -> Message:
        number = int(message.metadata.group_id or 1)
        return refuses(["west"], STAGES[number - 1], 1)(site, stage, 0, message, reply)

    meddle(lost)
    outcome = run(four, replace(masked, training=training))
    for record, stage in zip(outcome.records, STAGES, strict=True):
        counted = stage in ("survivors", "reveal")
        assert record.cohort == list(FOUR if counted else FOUR[:3])
        assert record.dropped == {"west": stage}
        assert record.missing == ({} if counted else {"west": f"{stage}: refused: state"})
    left = [path for file in outcome.sites for path in (file.parent / "run" / FOLDER).glob("*")]
    kept = {path.suffix for path in left if "west" not in path.parts}
    assert kept == {".answer"}, "secrets outlived the round"


@pytest.mark.parametrize(("stage", "counted"), [("training", 3), ("reveal", 4)])
def test_the_sum_is_that_of_the_survivors(
    stage: str, counted: int, four: World, masked: Recipe, meddle: Meddle, tmp_path: Path
) -> None:
    meddle(refuses(["west"], stage, 1))
    outcome = run(four, masked)
    meddle(undisturbed)
    plain = run(replace(four, folder=tmp_path / "plain"), replace(masked, masks=None), counted)
    assert 0 < closeness(outcome, plain) < 1.001


def test_an_attempt_that_failed_is_made_again_and_costs_nothing(
    four: World, masked: Recipe, meddle: Meddle, tmp_path: Path
) -> None:
    fails, vectors = refuses(["south", "west"], "training", 1), list[bytes]()

    def watched(site: str, stage: str, count: int, message: Message, reply: Reply) -> Message:
        answered = fails(site, stage, count, message, reply)
        if (site, stage) == ("east", "training"):
            answer = answer_from_record(answered.content)
            assert isinstance(answer, Update)
            vectors.append(answer.update)
        return answered

    meddle(watched)
    outcome = run(four, masked)
    [record] = outcome.records
    assert record.cohort == list(FOUR)
    assert bookings(outcome.sites) == [1, 1, 1, 1]
    meddle(undisturbed)
    plain = run(replace(four, folder=tmp_path / "plain"), replace(masked, masks=None))
    assert 0 < closeness(outcome, plain) < 1.001
    # The same update under two masks that have nothing to do with each other.
    first, again = numbers(vectors)
    assert uneven(first - again) < CHI_SQUARE


def test_too_few_survivors_teach_nothing_cost_what_was_booked_and_the_next_round_starts(
    four: World, masked: Recipe, meddle: Meddle
) -> None:
    two = replace(
        masked, training=masked.training.model_copy(update={"rounds": 2}), reserve_rounds=1
    )
    meddle(refuses(["south", "west"], "training", attempts.ATTEMPTS))
    outcome = run(four, two)
    abandoned, good = outcome.records
    assert "2 sites sent a masked vector, the charter's minimum is 3" in abandoned.abandoned
    assert abandoned.cohort == []
    assert set(abandoned.missing) == set(FOUR)
    assert (good.cohort, good.abandoned) == (list(FOUR), "")
    start, after = (outcome.study.history[number].tensors for number in (0, 1))
    assert start == after
    assert bookings(outcome.sites) == [2, 2, 1, 1]


def test_two_abandoned_rounds_in_a_row_stop_the_study(
    four: World, masked: Recipe, meddle: Meddle
) -> None:
    long = replace(masked, training=masked.training.model_copy(update={"rounds": 3}))
    meddle(refuses(["south", "west"], "training", 99))
    with pytest.raises(CohortError, match="two rounds in a row were abandoned"):
        run(four, long)
    study = Study(four.folder / "study" / "coordinator")
    study.read()
    assert study.rounds_done == 2


@pytest.mark.parametrize("stage", ["keys", "shares"])
def test_before_anybody_trains_too_few_sites_cost_nothing(
    stage: str, four: World, masked: Recipe, meddle: Meddle
) -> None:
    meddle(refuses(["south", "west"], stage, 99))
    with pytest.raises(CohortError, match=f"south: {stage}: refused: state"):
        run(four, masked)
    study = Study(four.folder / "study" / "coordinator")
    study.read()
    assert study.rounds_done == 0
    sites = [four.folder / "study" / "sites" / name / "site.toml" for name in FOUR]
    assert bookings(sites) == [0, 0, 0, 0]


@pytest.mark.parametrize("stage", ["keys", "training", "survivors", "reveal"])
def test_a_coordinator_that_is_stopped_goes_on_with_another_attempt_or_round(
    stage: str, four: World, masked: Recipe, meddle: Meddle
) -> None:
    two = replace(
        masked, training=masked.training.model_copy(update={"rounds": 2}), reserve_rounds=1
    )

    def pulls_the_plug(site: str, now: str, count: int, message: Message, answer: Reply) -> Message:
        if (site, now, count) == ("south", stage, 0):
            raise KeyboardInterrupt
        return answer(message)

    meddle(pulls_the_plug)
    with pytest.raises(KeyboardInterrupt):
        run(four, two)
    outcome = run(four, two)
    first, second = outcome.records
    if stage in ("survivors", "reveal"):
        assert "after the sites were asked who survived" in first.abandoned
        assert outcome.study.history[0].tensors == outcome.study.history[1].tensors
    else:
        assert (first.cohort, first.abandoned) == (list(FOUR), "")
    assert second.cohort == list(FOUR)
    assert bookings(outcome.sites) == [2, 2, 2, 2]


def test_the_hospitals_scenario_says_how_close_it_came(
    tmp_path: Path, tiny_bert_folder: Path
) -> None:
    data = tmp_path / "own.jsonl"
    records.write_jsonl(data, texts(120))
    options = hospitals.Options(
        out=tmp_path / "out",
        evaluation=20,
        sites=4,
        rounds=2,
        epsilon=8.0,
        partition="iid",
        model=tiny_bert_folder,
        data=data,
        threads=1,
        secure_aggregation=True,
        threshold=3,
        drop=1,
    )
    result = hospitals.run(options, Console(quiet=True))
    assert {row.name for row in result.rows} >= {"federated-dp", "unmasked-dp"}
    masked = [record for record in result.rounds if record.study == "federated-dp"]
    assert [record.dropped for record in masked] == [{"west": "training"}] * 2
    [note] = [note for note in result.notes if "unmasked study of the 3 sites" in note]
    assert float(note.split("further than ")[1].split(" ")[0]) <= 1.0
    assert result.command.endswith("--threshold 3 --drop 1 --secure-aggregation")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"drop": 1}, "--drop: sites drop out of masked rounds"),
        ({"secure_aggregation": True, "threshold": 2}, "--threshold, --sites: a minimum of 2"),
        (
            {"secure_aggregation": True, "drop": 1, "engine": "flower"},
            "--drop: not with the engine",
        ),
        (
            {"secure_aggregation": True, "threshold": 4, "drop": 1},
            "with 1 sites gone, 4 are not left",
        ),
    ],
)
def test_options_that_cannot_work_are_named(
    options: dict[str, object], named: str, four: World, masked: Recipe
) -> None:
    chosen = hospitals.Options(out=four.folder, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=named):
        hospitals.masked(masked, chosen, four)
