"""A site whose only way out is its institution's proxy; and what a wrong Flower is told."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from client.gate.outside import (
    HOST,
    PROXIES,
    Tunnels,
    coordinator,
    forget_proxies,
    write_membership,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.node_pb2 import Node
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.version import package_version
from patience import PATIENCE
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fedward_client import memberships, worker
from fedward_client.gate.proxy import Counters, Proxy
from fedward_client.gate.rules import FLEET, Gate
from fedward_client.memberships import Membership
from fedward_client.serving import LOOPBACK, spare_loopback
from fedward_client.supervision import MARK, Program, Supervised
from fedward_shared.errors import TransportError

HEARTBEAT = SendNodeHeartbeatRequest(node=Node(node_id=7), heartbeat_interval=30.0)


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_proxies(monkeypatch)


@pytest.fixture
def membership(tmp_path: Path) -> Membership:
    return write_membership(tmp_path / "university")


async def answer(request: Request) -> Response:
    asked = SendNodeHeartbeatRequest.FromString(await request.body())
    assert asked == HEARTBEAT
    return Response(SendNodeHeartbeatResponse(success=True).SerializeToString())


async def too_new(_request: Request) -> Response:
    error = FlowerError(
        ApiErrorCode.RUNTIME_VERSION_INCOMPATIBLE, "inside", public_details="1.99.0"
    )
    return JSONResponse(error.to_json("Runtime version compatibility check failed."), 412)


async def stopped(_request: Request) -> Response:
    error = FlowerError(ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED, "inside")
    return JSONResponse(error.to_json("The run is not running."), 403)


async def barred(_request: Request) -> Response:
    return Response("this certificate is not accepted: FAILED:certificate revoked", 403)


@pytest.fixture
def port(membership: Membership) -> Iterator[int]:
    routes = [Route(f"{FLEET}send-node-heartbeat", answer, methods=["POST"])]
    routes.append(Route("/enrol", lambda _: Response(b"welcome"), methods=["POST"]))
    routes.append(Route(f"{FLEET}activate-node", too_new, methods=["POST"]))
    routes.append(Route(f"{FLEET}get-run", stopped, methods=["POST"]))
    routes.append(Route(f"{FLEET}pull-messages", barred, methods=["POST"]))
    with coordinator(Starlette(routes=routes), membership.ca.parent) as port:
        yield port


def through(membership: Membership, path: str, body: bytes) -> tuple[httpx.Response, Proxy]:
    """The answer to what a SuperNode asks the gate, and the gate."""
    gate = Proxy(membership, Gate(), Counters(CollectorRegistry()), lambda _: None)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(gate.app()), base_url="https://gate"
        ) as client:
            found = await client.post(path, content=body)
        await gate.close()
        return found

    return asyncio.run(ask()), gate


def test_the_gate_goes_through_it_and_it_sees_nothing(
    membership: Membership, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnels = Tunnels(port)
    with tunnels.open() as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        said, gate = through(
            membership, f"{FLEET}send-node-heartbeat", HEARTBEAT.SerializeToString()
        )
        answered = memberships.ask(membership.address, "/enrol", b"", memberships.tls(membership))
    assert said.status_code == 200
    assert SendNodeHeartbeatResponse.FromString(said.content).success
    assert (gate.contact.problem, answered) == ("", b"welcome")
    assert tunnels.asked == [f"CONNECT {HOST}:443 HTTP/1.1"] * 2
    assert tunnels.passed[0][:2] == b"\x16\x03"  # a TLS handshake
    assert not any(b"send-node-heartbeat" in data for data in tunnels.passed)


def test_without_it_the_coordinator_is_not_found(membership: Membership, port: int) -> None:
    said, gate = through(membership, f"{FLEET}send-node-heartbeat", HEARTBEAT.SerializeToString())
    assert said.status_code == 502
    assert gate.contact.problem.startswith(f"{HOST}:443: ")
    with pytest.raises(TransportError, match="address, firewall and proxy right"):
        memberships.ask(membership.address, "/enrol", b"", memberships.tls(membership))


def test_a_proxy_that_will_not(
    membership: Membership, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnels = Tunnels(port)
    other = Membership("x", "elsewhere.test:443", *(getattr(membership, n) for n in FILES))
    with tunnels.open() as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        said, gate = through(other, f"{FLEET}send-node-heartbeat", HEARTBEAT.SerializeToString())
    assert said.status_code == 502
    assert "403 Forbidden" in gate.contact.problem


FILES = ("ca", "certificate", "key", "node_key")


def test_nothing_on_loopback_is_asked_of_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused bundle is answered through the site's own gate, by a client of Flower's."""
    tunnels = Tunnels(port)
    with tunnels.open() as url:
        for before, after in (("", LOOPBACK), (".clinic.test", f".clinic.test,{LOOPBACK}")):
            monkeypatch.setenv("HTTPS_PROXY", url)
            monkeypatch.setenv("NO_PROXY", before)
            monkeypatch.delenv("no_proxy", raising=False)
            spare_loopback()
            assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == after
            with pytest.raises(httpx.ConnectError):  # it speaks TLS of another authority
                httpx.get(f"https://{LOOPBACK}:{port}/")
    assert tunnels.asked == []


def test_the_worker_knows_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, "http://proxy.clinic.test:3128")
        monkeypatch.setenv(name.upper(), "http://proxy.clinic.test:3128")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    handover = worker.Handover(
        "university", "127.0.0.1:1", "ca", "key", "s", str(tmp_path), 2, None
    )
    for environment in (
        worker.inherited() | {MARK: f"test:{tmp_path}"},
        worker.environment(handover),
    ):
        said = asyncio.run(environment_within(environment))
        assert "LANG=de_DE.UTF-8" in said
        names = [line.partition("=")[0].lower() for line in said]
        assert not {*PROXIES, "aws_secret_access_key"} & set(names)


async def environment_within(environment: dict[str, str]) -> list[str]:
    """What a process that is started with it sees, once."""
    script = "import os\nfor each in os.environ.items(): print('='.join(each))\nprint('END')"
    lines: list[str] = []
    program = Program("shows", [sys.executable, "-c", script], environment, PATIENCE)
    shows = Supervised(program, lines.append, lambda _code, _delay: None)
    running = asyncio.create_task(shows.run())
    while "END" not in lines:
        assert not running.done()
        await asyncio.sleep(0.05)
    await shows.stop()
    await running
    return lines


def test_another_flower_is_not_mistaken_for_a_bad_certificate(
    membership: Membership, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tunnels(port).open() as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        said, gate = through(membership, f"{FLEET}activate-node", b"")
    assert said.status_code == 412  # the SuperNode ends with Flower's own words
    assert gate.contact.problem == (
        f"{HOST}:443: the coordinator has another Flower than this site's {package_version}: install "
        "the release of fedward that it runs, or ask it to upgrade"
    )


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [("get-run", ""), ("pull-messages", "answers 403: it does not accept this site's certificate")],
)
def test_a_run_that_was_stopped_is_not_mistaken_for_a_bad_certificate(
    membership: Membership,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str,
    problem: str,
) -> None:
    with Tunnels(port).open() as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        said, gate = through(membership, f"{FLEET}{endpoint}", b"")
    assert said.status_code == 403
    assert problem in gate.contact.problem
    assert bool(gate.contact.problem) == bool(problem)
