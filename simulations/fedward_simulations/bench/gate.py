"""What a site's gate costs: a small message and 5 MiB of tensors, through it and past it, on loopback.

Both ways end at the same server, with mutual TLS and kept connections; the peer goes there directly.
"""

import socket
import ssl
import statistics
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import uvicorn
from flwr.app import RecordDict
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import PushObjectRequest, PushObjectResponse
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedward_client import memberships
from fedward_client.gate import loopback
from fedward_client.gate.proxy import Counters, Proxy
from fedward_client.gate.rules import FLEET, Gate
from fedward_client.memberships import Membership
from fedward_client.serving import LOOPBACK, server
from fedward_shared.messages import Update
from fedward_simulations.bench.rows import Row

PIECE = 5 * 2**20
"""Into pieces of that size Flower cuts a tensor."""

SMALL_RUNS, LARGE_RUNS = 400, 60


def run(folder: Path) -> list[Row]:
    """Medians of both ways, interleaved."""
    certificate, key = folder / "server.pem", folder / "server.key"
    loopback.write(certificate, key)
    answer = Update("north", b"delivery", bytes(PIECE // 2) + b"\x01" * (PIECE // 2)).to_record()
    with ExitStack() as stack:
        upstream = _serve(stack, _upstream(), certificate, key, ssl_cert_reqs=ssl.CERT_REQUIRED)
        membership = Membership("bench", upstream, certificate, certificate, key, key)
        gate = Gate()
        gate.response(FLEET + "pull-messages", PullMessagesResponse().SerializeToString())
        gate.clear(answer)
        proxy = Proxy(membership, gate, Counters(CollectorRegistry()), lambda _: None)
        door = _serve(stack, proxy.app(), certificate, key)
        trusted = memberships.tls(membership)
        ways = {
            "past it": stack.enter_context(
                httpx.Client(base_url=f"https://{upstream}", verify=trusted)
            ),
            "through it": stack.enter_context(
                httpx.Client(base_url=f"https://{door}", verify=trusted)
            ),
        }
        heartbeat = SendNodeHeartbeatRequest(node=Node(node_id=1), heartbeat_interval=30.0)
        small = _compare(ways, "send-node-heartbeat", heartbeat.SerializeToString(), SMALL_RUNS)
        large = _compare(ways, "push-object", _piece(answer), LARGE_RUNS)
    return [
        Row(what, through * 1e3, past * 1e3, "past the gate", "ms")
        for what, (past, through) in (("a small message", small), ("5 MiB of tensors", large))
    ]


def _piece(answer: RecordDict) -> bytes:
    """The largest object of a reply, as a SuperNode sends it."""
    objects = {name: part.deflate() for name, part in get_all_nested_objects(answer).items()}
    name, content = max(objects.items(), key=lambda item: len(item[1]))
    return bytes(PushObjectRequest(object_id=name, object_content=content).SerializeToString())


def _compare(
    ways: dict[str, httpx.Client], endpoint: str, body: bytes, runs: int
) -> tuple[float, float]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(runs + 1):
        for name, client in ways.items():
            started = time.perf_counter()
            client.post(FLEET + endpoint, content=body).raise_for_status()
            if number:  # the first one connects
                seconds[name].append(time.perf_counter() - started)
    past, through = (statistics.median(values) for values in seconds.values())
    return past, through


def _upstream() -> Starlette:
    answers = {
        "send-node-heartbeat": SendNodeHeartbeatResponse(success=True).SerializeToString(),
        "push-object": PushObjectResponse(stored=True).SerializeToString(),
    }

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(answers[request.url.path.removeprefix(FLEET)])

    return Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])


def _serve(stack: ExitStack, app: Starlette, certificate: Path, key: Path, **tls: object) -> str:
    """Serves `app` in a thread until the stack is left; host and port."""
    door = socket.socket()
    door.bind((LOOPBACK, 0))
    made: uvicorn.Server = server(
        app, ssl_certfile=certificate, ssl_keyfile=key, ssl_ca_certs=str(certificate), **tls
    )
    thread = threading.Thread(target=made.run, kwargs={"sockets": [door]})
    thread.start()
    while not made.started:
        time.sleep(0.01)

    def end() -> None:
        made.should_exit = True
        thread.join()
        door.close()

    stack.callback(end)
    return f"{LOOPBACK}:{door.getsockname()[1]}"
