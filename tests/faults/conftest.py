"""One consortium for each minimum cohort, made once; a run strikes a copy of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedward_simulations.faults import consortium
from fedward_simulations.faults.invariants import check
from fedward_simulations.faults.operations import MINIMUM_COHORTS, Operation
from fedward_simulations.faults.run import Ending, run
from fedward_simulations.faults.world import World

Strike = Callable[..., tuple[World, Ending, list[tuple[str, str]]]]


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("faults")
    return {minimum: consortium.make(folder, minimum) for minimum in MINIMUM_COHORTS}


@pytest.fixture
def strike(templates: dict[int, Path], tmp_path: Path) -> Strike:
    """Runs a study with these operations; what was seen, how it ended, and which invariants broke."""

    def struck(
        *operations: Operation, minimum: int = 2
    ) -> tuple[World, Ending, list[tuple[str, str]]]:
        world, ending = run(templates[minimum], tmp_path / "run", list(operations))
        return world, ending, check(world, ending)

    return struck
