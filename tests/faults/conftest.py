"""One consortium for each minimum cohort, masked or not, made once; a run strikes a copy of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from fedward_simulations.faults import consortium
from fedward_simulations.faults.invariants import check
from fedward_simulations.faults.operations import Operation
from fedward_simulations.faults.run import Ending, run
from fedward_simulations.faults.world import World

Strike = Callable[..., tuple[World, Ending, list[tuple[str, str]]]]


@pytest.fixture(autouse=True)
def without_log() -> Iterator[None]:
    """A disk that is full is full for whatever the log is captured in, too."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


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
