"""One consortium for each minimum cohort, masked or not, made once; a run strikes a copy of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedward_simulations.faults import consortium
from fedward_simulations.faults.invariants import check
from fedward_simulations.faults.operations import Operation
from fedward_simulations.faults.run import Ending, run
from fedward_simulations.faults.world import World

Strike = Callable[..., tuple[World, Ending, list[tuple[str, str]]]]


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> consortium.Templates:
    return consortium.make_all(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def strike(templates: consortium.Templates, tmp_path: Path) -> Strike:
    """Runs a study with these operations; what was seen, how it ended, and which invariants broke."""

    def struck(
        *operations: Operation, minimum: int = 2, masked: bool = False
    ) -> tuple[World, Ending, list[tuple[str, str]]]:
        world, ending = run(templates[minimum, masked], tmp_path / "run", list(operations))
        return world, ending, check(world, ending)

    return struck
