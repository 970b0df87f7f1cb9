"""The coordinator's side of a running SuperLink: submit a study, watch it, stop it, enrol a site.

This speaks Flower's Control API through the client that the `flwr` command itself uses, rather
than through `flwr run` as a subprocess. The command reads its connection from `$FLWR_HOME`,
creates that folder when it is absent, starts a *detached* SuperLink for some addresses, refuses
a bundle whose ClientApp isn't installed on this machine (a coordinator has no client), and takes
seconds to start. None of that happens here: nothing is written, no process is started.

Errors:

    SuperLinkError (a TransportError)
    ├── BundleError              the bundle carries code, or Flower rejects its pyproject.toml
    ├── UnreachableError         no answer: down, wrong address or certificate
    └── RefusedError             answered, and refused; `code` is Flower's own number
        └── UnknownRunError      the SuperLink has no such run
"""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    StreamLogsRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fedward_shared.errors import TransportError

ConfigValue = str | int | float | bool

# What a bundle may hold. A bundle's folder comes first on `sys.path`, so one stray module in it
# could shadow an installed package; the sites' gates hold the same list.
BUNDLE_FILES = frozenset({"pyproject.toml", ".info/CONTENT"})


class SuperLinkError(TransportError):
    """The SuperLink could not do what was asked."""


class BundleError(SuperLinkError):
    """The bundle carries more than its pyproject.toml, or that file is not a Flower app."""


class UnreachableError(SuperLinkError):
    """No answer from the SuperLink. Whether the request took effect is unknown."""


class RefusedError(SuperLinkError):
    """The SuperLink answered with an error; `code` is Flower's, or the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnknownRunError(RefusedError):
    """The SuperLink holds no run with this id."""


@dataclass(frozen=True)
class RunStatus:
    """A run as the SuperLink sees it. `outcome` and `details` are empty until it finishes."""

    run_id: int
    phase: Literal["pending", "starting", "running", "finished"]
    outcome: Literal["", "completed", "failed", "stopped"]
    details: str

    @property
    def finished(self) -> bool:
        return self.phase == "finished"

    @property
    def succeeded(self) -> bool:
        """True only if the ServerApp itself returned; a crash or a stop never reads as success."""
        return self.finished and self.outcome == "completed"


@dataclass(frozen=True)
class Node:
    """A registered SuperNode. `status` is registered, online or offline, up to 60 s late."""

    node_id: int
    status: str
    public_key: bytes


@dataclass(frozen=True)
class SuperLink:
    """A SuperLink's Control API: `address` is host:port, `ca_cert` the PEM file that it trusts.

    Each call opens and closes its own connection, so an instance is just an address and can be
    kept while the SuperLink goes away and comes back.
    """

    address: str
    ca_cert: Path

    def submit(self, bundle_dir: Path, run_config: Mapping[str, ConfigValue]) -> int:
        """Start a run of the code-free bundle in `bundle_dir`; return its id.

        After `UnreachableError` the run may or may not exist: look at `runs` before asking
        again, or two runs of one study could be under way.
        """
        bundle = build_bundle(bundle_dir, run_config)
        request = StartRunRequest(
            fab=fab_to_proto(Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})),
            override_config=user_config_to_proto(dict(run_config)),
        )
        return int(self._call(lambda client: client.StartRun(request)).run_id)

    def status(self, run_id: int) -> RunStatus:
        for status in self._list(ListRunsRequest(run_id=run_id)):
            if status.run_id == run_id:
                return status
        raise UnknownRunError(ApiErrorCode.RUN_ID_NOT_FOUND, f"no run {run_id} at {self.address}")

    def runs(self) -> list[RunStatus]:
        """Every run that the SuperLink remembers, newest first."""
        return self._list(ListRunsRequest())

    def stop(self, run_id: int) -> bool:
        """Stop a run; False if it had already finished."""
        try:
            return bool(self._call(lambda c: c.StopRun(StopRunRequest(run_id=run_id))).success)
        except RefusedError as refused:
            if refused.code == ApiErrorCode.RUN_ALREADY_FINISHED:
                return False
            raise

    def wait(
        self,
        run_id: int,
        timeout_s: float,
        *,
        poll_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> RunStatus:
        """Poll until the run finishes; TimeoutError when it doesn't in time.

        A SuperLink that is down is asked again: with process isolation and a database on disk it
        takes the run up where it was.
        """
        deadline = clock() + timeout_s
        last = "not reached yet"
        while clock() < deadline:
            try:
                status = self.status(run_id)
            except UnreachableError as down:
                last = str(down)
            else:
                if status.finished:
                    return status
                last = status.phase
            time.sleep(poll_s)
        raise TimeoutError(f"run {run_id} did not finish within {timeout_s:g} s ({last})")

    def logs(self, run_id: int) -> Iterator[str]:
        """What the ServerApp has printed, as it comes; ends with the run."""
        with self._client() as client:
            for part in client.StreamLogs(StreamLogsRequest(run_id=run_id, after_timestamp=0.0)):
                yield str(part.log_output)

    def register(self, public_key: Any, name: str = "") -> int:
        """Admit a site's node key (an EC public key on a NIST curve); return its node id.

        The id belongs to the key: a SuperNode that restarts with the same key keeps it.
        """
        request = RegisterNodeRequest(public_key=public_key_to_bytes(public_key))
        if name:
            request.name = name
        return int(self._call(lambda client: client.RegisterNode(request)).node_id)

    def unregister(self, node_id: int) -> None:
        """Let a node in no more, at once. Its key stays known and can't be registered again."""
        self._call(lambda client: client.UnregisterNode(UnregisterNodeRequest(node_id=node_id)))

    def nodes(self) -> list[Node]:
        """The registered SuperNodes. The SuperLink lists those that were let go, too."""
        response = self._call(lambda client: client.ListNodes(ListNodesRequest()))
        return [
            Node(int(n.node_id), str(n.status), bytes(n.public_key))
            for n in response.nodes_info
            if n.status != NodeStatus.UNREGISTERED
        ]

    def healthy(self) -> bool:
        """True if the Control API answers."""
        try:
            self._call(lambda client: client.ListRuns(ListRunsRequest(limit=1)))
        except UnreachableError:
            return False
        return True

    def _list(self, request: Any) -> list[RunStatus]:
        response = self._call(lambda client: client.ListRuns(request))
        runs = sorted(response.run_dict.values(), key=lambda run: str(run.pending_at), reverse=True)
        return [
            RunStatus(int(r.run_id), r.status.status, r.status.sub_status, str(r.status.details))
            for r in runs
        ]

    def _call(self, use: Callable[[Any], Any]) -> Any:
        with self._client() as client:
            return use(client)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """A Control client whose errors are ours."""
        try:
            client = ControlHttpClient.from_server_address(
                server_address=self.address,
                insecure=False,
                root_certificates=self.ca_cert.read_bytes(),
                interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
            )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise UnreachableError(f"{self.ca_cert} is no usable certificate: {error}") from error
        try:
            yield client
        except httpx.HTTPStatusError as error:
            raise _refused(error.response) from error
        except httpx.RequestError as error:
            raise UnreachableError(f"no answer from {self.address}: {error}") from error
        finally:
            client.close()


def _refused(response: httpx.Response) -> RefusedError:
    flower = FlowerError.from_json(response.text)
    if flower is None:
        return RefusedError(response.status_code, f"HTTP {response.status_code}")
    message = " ".join(part for part in (flower.message, flower.public_details) if part)
    kind = UnknownRunError if flower.code == ApiErrorCode.RUN_ID_NOT_FOUND else RefusedError
    return kind(flower.code, f"[{flower.code}] {message}")


def build_bundle(bundle_dir: Path, run_config: Mapping[str, ConfigValue] | None = None) -> bytes:
    """The bundle's zip, checked: no code in it, and no override of a key that it doesn't have.

    Flower would notice an unknown key only in the ServerApp, after the run was started.
    """
    # Half a second, with all that Flower's own command needs; only a launch builds anything.
    from flwr.cli.build import build_fab_from_disk
    from flwr.cli.config_utils import load_and_validate

    try:
        config, _ = load_and_validate(bundle_dir / "pyproject.toml", check_module=False)
        bundle = bytes(build_fab_from_disk(bundle_dir))
    except ValueError as error:
        raise BundleError(str(error)) from error
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        if extra := sorted(set(archive.namelist()) - BUNDLE_FILES):
            raise BundleError(f"{bundle_dir}: the bundle may not carry {', '.join(extra)}")
    known = config["tool"]["flwr"]["app"].get("config", {})
    if unknown := sorted(set(run_config or {}) - set(known)):
        raise BundleError(f"{bundle_dir}: no such configuration key: {', '.join(unknown)}")
    return bundle
