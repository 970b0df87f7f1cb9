"""What the standing process does beside its children; those run in tests/e2e/test_network.py."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from server.test_proxy import needs_nginx
from server.test_registrar import enrolled

from fedward_server import coordinator, proxy, standing
from fedward_server.coordinator import Home
from fedward_server.registrar import Registrar, now
from fedward_server.standing import Coordinator

pytestmark = needs_nginx
ADDRESS = "fl.example:8443"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return coordinator.create(tmp_path / "home", "university", ADDRESS, 1, None)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def running(home: Home, said: list[str]) -> Iterator[Coordinator]:
    made = Coordinator(home, said.append)
    yield made
    made.close()


def test_the_proxys_certificate_is_renewed_when_it_is_due(
    home: Home, running: Coordinator, said: list[str]
) -> None:
    running._renew()
    assert said == []
    home.open_authority().certify_server(ADDRESS, now() - timedelta(days=61))
    running._renew()
    assert said == ["proxy: certificate renewed"]
    assert not home.open_authority().is_server_due(ADDRESS, now())


def test_what_others_do_to_the_log_is_told_and_followed(
    home: Home, running: Coordinator, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(home, "north")
    running._settle()  # no SuperLink answers: it will be asked again
    assert said == ["admissions: north invited", "admissions: north admitted"]
    assert running._settled < 0
    reloads: list[Home] = []
    monkeypatch.setattr(proxy, "reload", reloads.append)
    other = Registrar(home)
    other.revoke("north")  # and is cut off before it reloads the proxy
    other.close()
    running._settle()
    running._settle()
    assert said[2:] == ["admissions: north revoked"]
    assert len(home.open_authority().revoked) == 1
    assert reloads == [home]


def test_the_processes_find_everything_in_the_home(home: Home) -> None:
    made = standing.environment(home)
    assert made["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert made["FEDWARD_STUDIES"] == str(home.studies)
    assert made["FEDWARD_SESSIONS"] == str(home.sessions)
    assert made["FLWR_HOME"].startswith(str(home.folder))
    assert made["FLWR_TELEMETRY_ENABLED"] == "0"
    commands = standing.commands(home)
    assert list(commands) == ["superlink", "superexec", "enrolment", "exchange", "proxy"]
    superlink = commands["superlink"]
    assert superlink[superlink.index("--host") + 1] == "127.0.0.1"
    assert "--enable-supernode-auth" in superlink
    assert superlink[superlink.index("--isolation") + 1] == "process"


def test_a_socket_that_a_killed_one_has_left_is_cleared(home: Home) -> None:
    home.socket.parent.mkdir()
    home.socket.touch()
    standing.prepare(home)
    assert not home.socket.exists()
