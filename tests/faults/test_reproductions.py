"""Bugs that a fault campaign found, each as the operations that showed it."""

import json

import pytest
from faults.conftest import Strike

from fedward_simulations.faults.consortium import study_folder
from fedward_simulations.faults.operations import Operation
from fedward_simulations.faults.world import World


def answers(world: World, site: str) -> list[str]:
    return [crossing.answer for crossing in world.left if crossing.site == site]


@pytest.mark.parametrize("point", ["tensors.before", "record.before"])
def test_a_checkpoint_that_finds_no_room_is_named_and_the_study_resumed(
    strike: Strike, point: str
) -> None:
    """It ended with a bare OSError, and `outcome.json` said nothing."""
    world, ending, broken = strike(Operation("disk full", "coordinator", point, 2))
    assert broken == []
    assert (ending.outcome, ending.resumes) == ("resumed and complete", 1)
    assert dict(world.trainings) == {"north": 3, "south": 3, "east": 3}


def test_an_outcome_that_finds_no_room_is_written_by_the_next_run(strike: Strike) -> None:
    world, ending, broken = strike(Operation("disk full", "coordinator", "outcome.before"))
    assert broken == []
    assert ending.resumes == 1
    outcome = json.loads((study_folder(world.folder) / "outcome.json").read_bytes())
    assert outcome == {"outcome": "complete", "exit_code": 0}


def test_a_full_disk_does_not_hide_why_a_study_stopped(strike: Strike) -> None:
    _, ending, broken = strike(
        Operation("withdraw", "north", "request.train"),
        Operation("withdraw", "south", "request.train"),
        Operation("disk full", "coordinator", "outcome.before"),
    )
    assert broken == []
    assert ending.outcome == "stopped: approval withdrawn"


@pytest.mark.parametrize(("point", "crashed"), [("reserve.commit", 1), ("complete.before", 0)])
def test_a_ledger_that_finds_no_room_refuses_by_name(
    strike: Strike, point: str, crashed: int
) -> None:
    """SQLite's error went through as `internal`, with a transaction that was perhaps still open."""
    world, ending, broken = strike(Operation("disk full", "north", point))
    assert broken == []
    assert ending.outcome == "complete"
    assert world.crashed["north"] == crashed
    assert answers(world, "north")[:3] == ["welcome", "refused: state", "update"]


@pytest.mark.parametrize("minimum", [2, 3])
def test_a_request_that_comes_again_in_a_later_round_costs_nothing(
    strike: Strike, minimum: int
) -> None:
    """The site trained for a round that was over, paid for it, and lost the answer it had kept."""
    world, ending, broken = strike(
        Operation("again later", "north", "request.train"), minimum=minimum
    )
    assert broken == []
    assert ending.outcome == "complete"
    assert world.trainings["north"] == 3
    assert answers(world, "north").count("refused: state") == 1


def test_who_withdraws_in_a_masked_round_is_named_and_nobody_else(strike: Strike) -> None:
    """Once the others were named with it, for having lost the round."""
    withdrawn = Operation("withdraw", "east", "request.masks", 6)
    _, ending, broken = strike(withdrawn, masked=True, minimum=3)
    assert broken == []
    assert ending.reasons == ("approval withdrawn",)
    assert "east: " in ending.stopped
    assert "north: " not in ending.stopped
