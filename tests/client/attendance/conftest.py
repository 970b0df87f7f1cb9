"""A relay, and sites that talk over it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from client.attendance.consortium import (
    SITES,
    Data,
    Deployed,
    World,
    data_of,
    drafted,
    opened,
    signed,
)
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

    def make(
        settings: Mapping[str, dict[str, Any]] = {}, data: Data = data_of, **changes: Any
    ) -> tuple[VerticalCharter, dict[str, Deployed]]:
        charter = drafted(**changes)
        source = signed(tmp_path / "sent", charter)
        opened(relay, charter)
        sites = {}
        for name in SITES:
            own = settings.get(name, {})
            sites[name] = Deployed(tmp_path / name, name, source, relay, data, **own)
            made.append(sites[name])
        return charter, sites

    yield make
    for site in made:
        site.stop()
