"""How a study that was launched is said to have ended, when its run left no outcome."""

from pathlib import Path
from typing import Any, Literal, cast

import pytest

from fedward_server import launching
from fedward_server.superlink import RunStatus, SuperLink
from fedward_shared.errors import FedwardError, Interrupted, TransportError


class Ended:
    """A SuperLink whose run has ended so."""

    def __init__(self, outcome: Literal["failed", "stopped"]) -> None:
        self._outcome: Literal["failed", "stopped"] = outcome

    def status(self, run_id: int) -> RunStatus:
        return RunStatus(run_id, "finished", self._outcome, "details")


@pytest.mark.parametrize(
    ("outcome", "kind", "said"),
    [
        # `study stop` stops the run first, and then writes down that it did.
        ("stopped", Interrupted, "stopped; `fedward study resume` goes on"),
        ("failed", TransportError, r"run 7 ended without an outcome \(details\)"),
    ],
)
def test_a_run_without_an_outcome(
    tmp_path: Path, outcome: Any, kind: type[FedwardError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        launching._conclude(tmp_path, cast(SuperLink, Ended(outcome)), 7, print)
