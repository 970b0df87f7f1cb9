"""How much of the code has to be trusted: all that the daemon can load, and none of what trains."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START = "fedward_client.daemon"
CLIENT_LINES = 7_540
SHARED_LINES = 7_595
"""Budgets, blank lines and docstrings included. Who wants to exceed them takes something out first.

They grew for secure aggregation, as a site's half of it holds the secrets that hide its update, and for
studies that are split by columns: a site's end of the exchange holds a session's keys, its journal says
what was sent, its egress counts on what was said before a checkpoint, and whether the model may be asked
once more is for the ledger to say. Statistics get their noise here, so that no count without it is
ever cleared, and what they may hold is checked against the charter. And sessions that look for
near-duplicates at other sites: what may be said in one and how often, what no ε covers, and a charter of
their own to say it. And that a search for settings, whose best trial alone is released, is one booking:
what such an event may say, how it is written, and that it is composed by its Rényi divergence.
"""

WORKERS = (
    "fedward_client.training",
    "fedward_client.searching",
    "fedward_client.vertical",
    "fedward_client.statistics.counting",
    "fedward_client.duplicates.",
    "fedward_client.sessions",
    "fedward_client.app",
    "fedward_shared.tasks",
    "fedward_shared.searching",
    "fedward_shared.psi.alignment",
    "fedward_shared.psi.mutual",
    "fedward_shared.duplicates.comparing",
    "fedward_shared.text.signatures",
    "fedward_shared.vertical.models",
)
"""What reads records and computes with them: the worker's alone, or a command's."""


def source(module: str) -> Path | None:
    """The file of one of our modules."""
    folder = ROOT / ("client" if module.startswith("fedward_client") else "shared")
    place = folder / Path(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported(path: Path) -> Iterator[str]:
    """All that a file may load of ours, also within functions; not what is for type checkers alone."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def closure(start: str) -> dict[str, Path]:
    """Every module of ours that `start` may load."""
    found: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        path = source(module) if module.startswith("fedward_") else None
        if path is not None and module not in found:
            found[module] = path
            waiting += imported(path)
    return found


@pytest.fixture(scope="module")
def core() -> dict[str, Path]:
    return closure(START)


def lines(core: dict[str, Path], package: str) -> int:
    files = {path for module, path in core.items() if module.startswith(package)}
    return sum(len(path.read_text("utf-8").splitlines()) for path in files)


def test_the_core_can_be_read_in_an_afternoon(core: dict[str, Path]) -> None:
    assert lines(core, "fedward_client") <= CLIENT_LINES
    assert lines(core, "fedward_shared") <= SHARED_LINES


def test_the_core_has_all_that_decides(core: dict[str, Path]) -> None:
    names = (
        "trusted",
        "policy",
        "ledger",
        "egress",
        "gate.rules",
        "gate.bundle",
        "boundary.listener",
        "attendance.egress",
        "statistics.telling",
    )
    assert {f"fedward_client.{name}" for name in names} <= core.keys()
    assert {"fedward_shared.charter", "fedward_shared.audit"} <= core.keys()


def test_what_trains_is_not_in_it(core: dict[str, Path]) -> None:
    assert [module for module in core if module.startswith(WORKERS)] == []


def test_the_worker_has_no_way_to_key_or_ledger_but_the_socket() -> None:
    """The ClientApp and all that it loads, in deployment."""
    worker = closure("fedward_client.app")
    kept = ("trusted", "ledger", "keys", "site", "policy", "charters", "egress", "memberships")
    assert [name for name in kept if f"fedward_client.{name}" in worker] == []
    assert "fedward_client.boundary.caller" in worker
