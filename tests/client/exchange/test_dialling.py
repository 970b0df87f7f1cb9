"""The way of a site's exchange to the coordinator, where the only way out is the institution's proxy."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from client.gate.outside import HOST, Tunnels, forget_proxies, write_membership

from fedward_client.exchange.connection import dialling
from fedward_client.memberships import Membership

ASKED = f"CONNECT {HOST}:443 HTTP/1.1"


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_proxies(monkeypatch)


@pytest.fixture
def membership(tmp_path: Path) -> Membership:
    return write_membership(tmp_path / "university")


@pytest.fixture
def tunnels(membership: Membership) -> Iterator[Tunnels]:
    """To a server of gRPC that asks for the site's certificate."""
    place = membership.ca.parent
    own = (place / "server.key").read_bytes(), (place / "server.pem").read_bytes()
    ca = membership.ca.read_bytes()
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        credentials = grpc.ssl_server_credentials([own], ca, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        yield Tunnels(port)
        server.stop(None).wait()


def reached(membership: Membership) -> bool:
    """Whether the first attempt to connect gets to the coordinator."""

    async def run() -> grpc.ChannelConnectivity:
        async with dialling(membership)() as channel:
            state = channel.get_state(try_to_connect=True)
            while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
                await asyncio.wait_for(channel.wait_for_state_change(state), 30)
                state = channel.get_state()
            return state

    return asyncio.run(run()) is grpc.ChannelConnectivity.READY


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("HTTPS_PROXY", "http://"),
        ("HTTPS_PROXY", ""),
        ("https_proxy", "http://"),
        ("ALL_PROXY", "http://"),
    ],
)
def test_the_proxy_is_found_however_it_is_written(
    membership: Membership,
    tunnels: Tunnels,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    scheme: str,
) -> None:
    with tunnels.open() as url:
        monkeypatch.setenv(name, scheme + url.removeprefix("http://"))
        assert reached(membership)
    assert tunnels.asked == [ASKED]


@pytest.mark.parametrize("spared", [HOST, ".test"])
def test_a_coordinator_that_is_spared_is_not_asked_for_there(
    membership: Membership, tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch, spared: str
) -> None:
    with tunnels.open() as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        monkeypatch.setenv("NO_PROXY", spared)
        assert not reached(membership)
    assert tunnels.asked == []
