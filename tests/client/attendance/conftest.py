"""A relay, and sites that talk over it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client.attendance.consortium import SITES, Deployed, World, drafted, opened, signed
from client.exchange.running import RunningRelay

from fedward_shared.vertical.charter import VerticalCharter


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RunningRelay]:
    made = RunningRelay(tmp_path / "sessions")
    yield made
    made.stop()


@pytest.fixture
def world(tmp_path: Path, relay: RunningRelay) -> Iterator[World]:
    made: list[Deployed] = []

    def make(**changes: Any) -> tuple[VerticalCharter, dict[str, Deployed]]:
        charter = drafted(**changes)
        source = signed(tmp_path / "sent", charter)
        opened(relay, charter)
        sites = {n: Deployed(tmp_path / n, n, source, relay) for n in SITES}
        made.extend(sites.values())
        return charter, sites

    yield make
    for site in made:
        site.stop()
