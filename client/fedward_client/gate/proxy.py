"""The gate as a server: a loopback address for the SuperNode, mutual TLS to the coordinator."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx
import structlog
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.supercore.error import FlowerError
from flwr.supercore.runtime_version_compatibility import (
    get_runtime_version_incompatibility_exit_message,
)
from flwr.supercore.version import package_version as flwr_version
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedward_client import memberships
from fedward_client.gate.rules import FLEET, Gate, endpoint
from fedward_client.memberships import Membership
from fedward_shared.errors import BundleRefused, GateError, StateError

HEADERS_OUT = ("flwr-", "content-type", "accept")
HEADERS_IN = ("flwr-", "content-type")
"""Beginnings of the headers that pass."""

TIMEOUT_SECONDS = 60.0

log = structlog.get_logger()


class Counters:
    """What passed all gates of a site and what did not, for Prometheus and `site status`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["coordinator", "endpoint"]
        self.passed = Counter("fedward_gate_requests", "Requests passed", labels, registry=registry)
        self.refused = Counter(
            "fedward_gate_refusals", "Requests refused", labels, registry=registry
        )
        self.bytes_out = Counter(
            "fedward_egress_bytes", "Bytes that left", ["coordinator"], registry=registry
        )
        self.bytes_in = Counter(
            "fedward_ingress_bytes", "Bytes that came in", ["coordinator"], registry=registry
        )


@dataclass
class Contact:
    """When the coordinator last answered (seconds since the epoch, 0.0 for never), and what ails it."""

    last: float = 0.0
    problem: str = ""
    refused_bundle: str = ""


@dataclass
class Proxy:
    """Passes on what `gate` lets through, between one SuperNode and one coordinator.

    `refused` is told of a run whose bundle was refused. `HTTPS_PROXY` is heeded, as an institution has
    one.
    """

    membership: Membership
    gate: Gate
    counters: Counters
    refused: Callable[[int], None]
    contact: Contact = field(default_factory=Contact)
    _client: httpx.AsyncClient | None = None
    _certificate_of: int = 0

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(routes=[Route("/{path:path}", self.pass_on, methods=["GET", "POST"])])

    async def pass_on(self, request: Request) -> Response:
        """One request, answered with 403 by the gate's own rules and 502 without a coordinator."""
        path = request.url.path
        name = self.membership.coordinator
        label = path.removeprefix(FLEET) if path.startswith(FLEET) else "other"
        try:
            body = self.gate.request(path, await _bounded(request, endpoint(path).up))
        except GateError as error:
            return self._refuse(label, error)
        try:
            answer = await self._send(path, body, request.headers)
        except (httpx.HTTPError, OSError, StateError) as error:
            self.contact.problem = f"{self.membership.address}: {error or type(error).__name__}"
            log.warning("coordinator unreachable", coordinator=name, reason=self.contact.problem)
            return Response(status_code=502)
        self.counters.bytes_out.labels(name).inc(len(body))
        self.counters.bytes_in.labels(name).inc(len(answer.content))
        self._note_contact(answer)
        if answer.is_success:
            try:
                self.gate.response(path, answer.content)
            except GateError as error:
                if isinstance(error, BundleRefused):
                    self.contact.refused_bundle = str(error)
                    self.refused(_run_of(body))
                return self._refuse(label, error)
        self.counters.passed.labels(name, label).inc()
        return Response(answer.content, answer.status_code, _passing(answer.headers, HEADERS_IN))

    def _refuse(self, label: str, error: GateError) -> Response:
        name = self.membership.coordinator
        known = label if "/" not in label and len(label) < 40 else "other"
        self.counters.refused.labels(name, known).inc()
        log.error("stopped at the gate", coordinator=name, reason=str(error))
        return Response(status_code=403)

    def _note_contact(self, answer: httpx.Response) -> None:
        self.contact.last = time.time()
        problem = ""
        if answer.is_error and get_runtime_version_incompatibility_exit_message(answer.text):
            problem = (
                f"{self.membership.address}: the coordinator has another Flower than this site's "
                f"{flwr_version}: install the release of fedward that it runs, or ask it to upgrade"
            )
        elif answer.status_code in (400, 401, 403, 495, 496) and not _of_a_run(answer):
            problem = (
                f"{self.membership.address} answers {answer.status_code}: it does not accept this "
                "site's certificate or node; ask the coordinator whether it was revoked or has expired"
            )
        if problem and problem != self.contact.problem:
            log.error("refused by the coordinator", reason=problem)
        self.contact.problem = problem

    async def _send(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        client = await self._connected()
        request = client.build_request(
            "POST", path, content=body, headers=_passing(headers, HEADERS_OUT)
        )
        answer = await client.send(request, stream=True)
        try:
            content = bytearray()
            async for part in answer.aiter_raw():
                content += part
                if len(content) > endpoint(path).down:
                    raise httpx.DecodingError(f"{path}: an answer of more than it may have")
        finally:
            await answer.aclose()
        return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(content))

    async def _connected(self) -> httpx.AsyncClient:
        """The client with the certificate as it is now: a renewed one is taken up at once."""
        changed = self.membership.certificate.stat().st_mtime_ns
        if self._client is None or changed != self._certificate_of:
            await self.close()
            self._client = httpx.AsyncClient(
                base_url=f"https://{self.membership.address}",
                verify=memberships.tls(self.membership),
                timeout=TIMEOUT_SECONDS,
            )
            self._certificate_of = changed
        return self._client

    async def close(self) -> None:
        """Closes the connection to the coordinator."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _of_a_run(answer: httpx.Response) -> bool:
    """Whether it is the SuperLink itself that refuses something, such as a reply to a stopped run."""
    return FlowerError.from_json(answer.text) is not None


def _passing(headers: Mapping[str, str], beginnings: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith(beginnings)}


async def _bounded(request: Request, limit: int) -> bytes:
    """The body. Raises GateError for one of more than `limit` bytes, before it has all of it."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > limit:
            raise GateError(f"{request.url.path[:80]}: a request of more than {limit} bytes")
    return bytes(content)


def _run_of(body: bytes) -> int:
    return int(GetFabRequest.FromString(body).run_id)
