"""A study whose ClientApps have no network at all: the socket to the trusted side is all they need."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import texts
from flwr.app import Context, Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as MessageProto
from patience import PATIENCE

from fedward_client import settings as site_settings
from fedward_client.boundary.listener import Listener
from fedward_client.site import Site
from fedward_client.trusted import Trusted
from fedward_server.app import create_app
from fedward_server.observer import Observer
from fedward_server.studies import Study
from fedward_simulations.consortium import Consortium, Recipe, World
from fedward_simulations.federation import InProcessGrid, _context

WORKER = Path(__file__).parent / "cut_off.py"


def has_namespaces() -> bool:
    """Whether this machine lets us take the network from a process."""
    unshare = shutil.which("unshare")
    return (
        unshare is not None
        and not subprocess.run([unshare, "--net", "true"], check=False).returncode
    )


@dataclass(frozen=True)
class CutOff:
    """In the place of a ClientApp: each message is answered by a process without a network."""

    socket: Path
    outside: tuple[str, ...]

    def __call__(self, message: Message, _context: Context) -> Message:
        done = subprocess.run(
            ["unshare", "--net", sys.executable, str(WORKER), str(self.socket), *self.outside],
            input=message_to_proto(message).SerializeToString(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return message_from_proto(MessageProto.FromString(done.stdout))


@contextmanager
def somebody() -> Iterator[str]:
    """Whom every process can reach that has a network: loopback's address of a listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        socket.create_connection(listening.getsockname(), timeout=5).close()
        yield address


@pytest.mark.skipif(not has_namespaces(), reason="no right to make network namespaces")
def test_a_study_is_trained_without_any_network(
    tmp_path: Path, world: World, recipe: Recipe
) -> None:
    world = replace(world, sites={"north": texts(24)})
    recipe = replace(recipe, training=recipe.training.model_copy(update={"rounds": 1}))
    folder, [settings] = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    core = Trusted(lambda: site_settings.load(settings))
    cleared: list[object] = []
    listener = Listener(tmp_path / "site.sock", core, cleared.append, frozenset({os.getuid()}))
    listener.start()
    try:
        with somebody() as address:
            alone = CutOff(tmp_path / "site.sock", (address, "198.51.100.7:443"))
            server = create_app(lambda _: Study(folder), Observer())
            server(InProcessGrid({1: alone}), _context(0, {}))  # type: ignore[dict-item]
    finally:
        listener.close()
    study = Study(folder)
    study.read()
    assert study.is_complete
    assert [record.cohort for record in study.records] == [["north"]]
    with closing(Site.open(settings)) as site:
        spending = site.ledger.spending("records")
        assert (spending.bookings, spending.open_bookings) == (1, 0)
        assert [e.event for e in site.audit.entries].count("received") == 1


@pytest.mark.skipif(not has_namespaces(), reason="no right to make network namespaces")
def test_with_a_network_the_same_process_says_so(tmp_path: Path) -> None:
    """The check above can fail."""
    with somebody() as address:
        done = subprocess.run(
            [sys.executable, str(WORKER), str(tmp_path / "none"), address],
            input=b"",
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stderr.decode()) == (1, f"{address} was reached\n")
