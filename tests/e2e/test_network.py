"""A coordinator as its people run it, with the real nginx and the real SuperLink: who gets how far.

One `fedward coordinator run` serves all tests of this file; sites enrol with it as it is typed.
"""

import base64
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import tomli_w
from client.test_settings import good
from conftest import key_of
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from e2e.federation import free_ports
from e2e.processes import kill_all_in, living_in
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from patience import LONG, PATIENCE, until
from typer.testing import CliRunner

from fedward_client import memberships, settings
from fedward_client.commands.site import site as at_site
from fedward_client.exchange.connection import Connection, dialling
from fedward_client.exchange.journal import JOURNAL, Journal
from fedward_client.exchange.lines import SiteLine
from fedward_client.exchange.party import Seat
from fedward_client.memberships import Membership
from fedward_server.authority import Authority, pem
from fedward_server.cli import coordinator as at_coordinator
from fedward_server.coordinator import Home
from fedward_server.exchange.sessions import Session, Sessions
from fedward_server.registrar import Registrar
from fedward_server.superlink import SuperLink
from fedward_shared.errors import EnrolmentError, ExchangeError
from fedward_shared.exchange.hops import METHOD

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.e2e,
    LONG,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (make system)"),
]
TYPE = "application/protobuf"
CHARTER, EXCHANGED = "sha256:" + "1" * 64, "ab" * 32


def typed(app: object, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])  # type: ignore[arg-type]
    if result.exception is not None:
        raise result.exception
    return result.output


@dataclass
class Network:
    """The running coordinator, and everything that people have seen on a screen."""

    root: Path
    home: Home
    process: subprocess.Popen[bytes]
    seen: str = ""

    @property
    def said(self) -> str:
        return (self.root / "run.out").read_text()

    @property
    def superlink(self) -> SuperLink:
        return SuperLink(self.home.superlink_address, self.home.authority / "ca.pem")

    @property
    def port(self) -> int:
        return int(self.home.settings.address.rpartition(":")[2])

    def log(self, name: str) -> str:
        return (self.home.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def enrol(self, name: str) -> Membership:
        """As it is typed, at both ends."""
        file, at = self.root / f"{name}.invitation", self.root / name / "site.toml"
        home = ("--home", self.home.folder)
        public = self.home.key().public
        self.seen += typed(at_coordinator, "invite", name, "--out", file, *home)
        at.parent.mkdir(exist_ok=True)
        at.write_text(
            tomli_w.dumps(good() | {"name": name, "coordinators": {"university": public.text}})
        )
        if not (at.parent / "site.key").exists():
            key_of(name).save(at.parent / "site.key")
        told = ("--fingerprint", public.fingerprint, "--site", at)
        self.seen += typed(at_site, "enrol", file, *told)
        (made,) = memberships.all_of(settings.load(at))
        return made

    def context(self, certificate: Path | None, key: Path | None = None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=self.home.authority / "ca.pem")
        if certificate is not None:
            made.load_cert_chain(certificate, key)
        return made

    def get(self, path: str, trusted: ssl.SSLContext, method: str = "POST") -> tuple[int, str]:
        """Status and body; the path goes out as it is written here."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=trusted)
        try:
            connection.request(method, path, body=b"", headers={"Content-Type": TYPE})
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    root = tmp_path_factory.mktemp("network")
    port, inner = free_ports(2)
    folder = root / "home"
    where = ("--address", f"127.0.0.1:{port}", "--superlink-port", inner, "--home", folder)
    seen = typed(at_coordinator, "init", "--name", "university", *where)
    with (root / "run.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "fedward_shared.cli", "coordinator", "run", "--home", folder],
            cwd=root,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    made = Network(root, Home(folder), process, seen)
    try:
        until(lambda: "university: ready, at" in made.said, lambda: made.said)
        yield made
    finally:
        process.terminate()
        process.wait(PATIENCE)
        kill_all_in(root)


@pytest.fixture(scope="module")
def north(network: Network) -> Membership:
    return network.enrol("north")


@pytest.fixture(scope="module")
def valid(network: Network, north: Membership) -> ssl.SSLContext:
    return network.context(north.certificate, north.key)


def activation(membership: Membership) -> tuple[bytes, dict[str, str]]:
    """A SuperNode's first message: body and headers, signed with its own key."""
    key = serialization.load_ssh_private_key(membership.node_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    public = public_key_to_bytes(key.public_key())
    at = datetime.now(UTC).isoformat()
    signature = sign_message(key, at.encode())
    headers = {
        "Content-Type": TYPE,
        "Accept": TYPE,
        FLEET_HTTP_PUBLIC_KEY_HEADER: base64.b64encode(public).decode(),
        TIMESTAMP_HEADER: at,
        FLEET_HTTP_SIGNATURE_HEADER: base64.b64encode(signature).decode(),
        "flwr-package-name": "flwr",
        "flwr-package-version": "1.41.0",
        "flwr-component-name": "SuperNode",
    }
    body = ActivateNodeRequest(public_key=public, heartbeat_interval=30.0).SerializeToString()
    return body, headers


def activate(network: Network, membership: Membership, client: httpx.Client) -> httpx.Response:
    body, headers = activation(membership)
    url = f"https://127.0.0.1:{network.port}/v1/fleet/activate-node"
    return client.post(url, content=body, headers=headers)


def test_a_valid_certificate_reaches_the_fleet_and_the_node_comes_online(
    network: Network, north: Membership, valid: ssl.SSLContext
) -> None:
    with httpx.Client(verify=valid) as client:
        answer = activate(network, north, client)
    assert answer.status_code == 200, answer.text
    (node,) = [node for node in network.superlink.nodes() if node.status == "online"]
    assert node.node_id
    assert network.get("/health", valid, "GET")[0] == 200
    until(lambda: "admissions: north admitted" in network.said)
    shown = typed(at_coordinator, "sites", "--home", network.home.folder)
    assert key_of("north").public.fingerprint in shown
    network.seen += shown


REFUSED_WORDS = {
    "none": "this needs the certificate of an admitted site",
    "expired": "FAILED:certificate has expired",
    "foreign": "this certificate is not accepted: FAILED:",
    "a server's": "this certificate is not accepted: FAILED:",
}


@pytest.fixture(scope="module")
def refused(network: Network) -> dict[str, ssl.SSLContext]:
    """One of each that has to be refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    folder = network.root / "refused"
    folder.mkdir()
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    now = datetime.now(UTC)
    own = network.home.open_authority()
    stranger = Authority.create(folder / "stranger", "university", None, now)
    for name, authority, at in (
        ("expired", own, now - timedelta(days=91)),
        ("foreign", stranger, now),
    ):
        (folder / name).write_text(pem(authority.certify_site("north", key.public_key(), at)))
    server = network.home.authority / "server.pem"
    return {
        "none": network.context(None),
        "expired": network.context(folder / "expired", folder / "key"),
        "foreign": network.context(folder / "foreign", folder / "key"),
        "a server's": network.context(server, server.with_suffix(".key")),
    }


@pytest.mark.parametrize("path", ["/v1/fleet/activate-node", "/health", "/fedward/renew"])
@pytest.mark.parametrize("which", REFUSED_WORDS)
def test_without_a_valid_certificate_nothing_is_reached(
    network: Network, refused: dict[str, ssl.SSLContext], which: str, path: str
) -> None:
    method = "GET" if path == "/health" else "POST"
    status, text = network.get(path, refused[which], method)
    assert (status, REFUSED_WORDS[which] in text) == (403, True), text


FORBIDDEN = [
    "/v1/control/start-run",
    "/v1/control/list-runs",
    "/v1/runtime/acquire-task",
    "/v1/runtime/push-messages",
    "/v1/fleet/../control/start-run",
    "/v1/fleet/%2e%2e/control/start-run",
    "/v1/fleet/..%2fcontrol%2fstart-run",
    "/v1/fleet/x/..%2f..%2fcontrol/start-run",
    "//v1/control/start-run",
    "/V1/CONTROL/start-run",
    "/v1/fleet/",
    "/v1/fleet/activate-node/",
    "/v1/fleet/activate-node%00",
    "/v1/fleet",
    "/docs",
    "/openapi.json",
    "/",
    "/fedward/",
    "/fedward/enrol/x",
]


@pytest.mark.parametrize("path", FORBIDDEN)
def test_a_valid_certificate_reaches_nothing_but_the_fleet(
    network: Network, valid: ssl.SSLContext, refused: dict[str, ssl.SSLContext], path: str
) -> None:
    before = network.log("superlink").count("start-run")
    for trusted in (valid, refused["none"]):
        for method in ("POST", "GET"):
            status, text = network.get(path, trusted, method)
            # What the proxy says; the SuperLink would answer in JSON or protobuf.
            assert (status, text.strip()) == (403, "not for sites") or "400 Bad Request" in text
    assert network.log("superlink").count("start-run") == before


def line_of(folder: Path, name: str, peer: str, membership: Membership) -> Iterator[SiteLine]:
    journal = Journal(folder / f"exchange-of-{name}", EXCHANGED, key_of(name).derive(JOURNAL))
    seat = Seat(CHARTER, EXCHANGED, name, key_of(name), {peer: key_of(peer).public})
    line = SiteLine(seat, journal, patience=PATIENCE)
    connection = Connection(line, dialling(membership))
    connection.start()
    yield line
    connection.close()
    journal.close()


def test_two_sites_talk_over_the_exchange_and_nobody_in_anothers_name(
    network: Network, north: Membership, valid: ssl.SSLContext, refused: dict[str, ssl.SSLContext]
) -> None:
    parties = {name: key_of(name).public.text for name in ("north", "harbour")}
    end = datetime.now(UTC) + timedelta(hours=1)
    Sessions(network.home.sessions).open(
        Session(session=EXCHANGED, charter=CHARTER, study="credit", parties=parties, deadline=end)
    )
    harbour = network.enrol("harbour")
    with ExitStack() as ends:
        at_north = contextmanager(line_of)(network.root, "north", "harbour", north)
        at_harbour = contextmanager(line_of)(network.root, "harbour", "north", harbour)
        one, other = ends.enter_context(at_north), ends.enter_context(at_harbour)
        for size in (0, 65_536, 4 * 2**20):
            one.send("harbour", bytes(size))
            assert other.receive("north", PATIENCE) == bytes(size)
            other.send("north", b"%d" % size)
            assert one.receive("harbour", PATIENCE) == b"%d" % size
        one.finish(PATIENCE)
        other.finish(PATIENCE)
    claim = contextmanager(line_of)(network.root / "claimed", "harbour", "north", north)
    with claim as thief, pytest.raises(ExchangeError, match="certificate of the connection"):
        thief.receive("north", PATIENCE)
    until(lambda: "site=harbour" in network.log("exchange"))
    for trusted in (refused["none"], refused["expired"]):
        assert network.get(METHOD, trusted)[0] == 403
    assert network.get(METHOD, valid, "GET")[0] == 403
    assert network.get("/fedward.Exchange/Other", valid) == (403, "not for sites\n")


def test_what_is_passed_on_is_the_path_that_was_judged(
    network: Network, valid: ssl.SSLContext
) -> None:
    status, _ = network.get("/v1/control/start-run/..%2f..%2ffleet%2fabc?start-run", valid)
    assert status == 404  # the SuperLink has no such Fleet endpoint
    until(lambda: '"POST /v1/fleet/abc HTTP' in network.log("superlink"))


def test_other_methods_are_refused(network: Network, valid: ssl.SSLContext) -> None:
    for method, path in (
        ("GET", "/v1/fleet/activate-node"),
        ("DELETE", "/v1/fleet/activate-node"),
        ("POST", "/health"),
        ("GET", "/fedward/renew"),
        ("GET", "/fedward/enrol"),
    ):
        assert network.get(path, valid, method)[0] == 403


def test_nobody_says_whose_certificate_it_is_but_the_proxy(
    network: Network, north: Membership, refused: dict[str, ssl.SSLContext], valid: ssl.SSLContext
) -> None:
    url = f"https://127.0.0.1:{network.port}/fedward/renew"
    serial = f"{north.current.serial_number:X}"
    claims = {"X-Client-Verify": "SUCCESS", "X-Client-Serial": serial}
    with httpx.Client(verify=refused["none"]) as client:
        assert client.post(url, headers=claims).status_code == 403
    with httpx.Client(verify=valid) as client:  # what it claims is not what counts
        answer = client.post(url, headers=claims | {"X-Client-Serial": "1"})
    assert answer.status_code == 200


def test_bodies_are_bounded_before_they_are_read(network: Network, valid: ssl.SSLContext) -> None:
    for path, length in (("/v1/fleet/push-object", 300 * 2**20), ("/fedward/enrol", 70_000)):
        connection = http.client.HTTPSConnection("127.0.0.1", network.port, context=valid)
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()


def test_old_tls_is_refused(network: Network) -> None:
    trusted = network.context(None)
    trusted.minimum_version = trusted.maximum_version = ssl.TLSVersion.TLSv1_2
    assert network.get("/", trusted)[0] == 403
    trusted = network.context(None)
    trusted.set_ciphers("ALL:@SECLEVEL=0")
    trusted.minimum_version = trusted.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)version|alert|protocol"):
        network.get("/", trusted)


def test_a_certificate_is_renewed_over_the_network(network: Network) -> None:
    west = network.enrol("west")
    old = west.current
    assert not memberships.renew_if_due(west, datetime.now(UTC))
    assert memberships.renew_if_due(west, datetime.now(UTC) + timedelta(days=61))
    assert west.current.serial_number != old.serial_number
    assert west.current.public_key() == old.public_key()
    assert network.get("/health", memberships.tls(west), "GET")[0] == 200
    network.seen += typed(at_site, "renew", "--site", network.root / "west" / "site.toml")
    assert "west" in typed(at_coordinator, "sites", "--home", network.home.folder)


def test_a_used_token_is_refused_in_words(network: Network, north: Membership) -> None:
    assert north.certificate.exists()
    at = network.root / "thief" / "site.toml"
    public = network.home.key().public
    at.parent.mkdir()
    at.write_text(
        tomli_w.dumps(good() | {"name": "north", "coordinators": {"university": public.text}})
    )
    key_of("thief").save(at.parent / "site.key")
    told = ("--fingerprint", public.fingerprint, "--site", at)
    with pytest.raises(EnrolmentError, match="the token of this invitation was used already") as e:
        typed(at_site, "enrol", network.root / "north.invitation", *told)
    network.seen += str(e.value)


def test_a_revocation_takes_effect_on_the_next_connection(network: Network) -> None:
    south = network.enrol("south")
    trusted = memberships.tls(south)
    with httpx.Client(verify=trusted) as client:
        assert activate(network, south, client).status_code == 200
        session = resumable(network, trusted)
        nodes = len(network.superlink.nodes())
        said = typed(at_coordinator, "revoke", "south", "--home", network.home.folder)
        network.seen += said
        assert "the proxy refuses its certificates" in said
        assert len(network.superlink.nodes()) == nodes - 1
        # nginx has been told; its new workers are there within moments.
        refused = "FAILED:certificate revoked"
        until(lambda: refused in network.get("/health", trusted, "GET")[1])
        # A connection from before gets no further either: the SuperLink has let the node go.
        # Or nginx has closed it, as it does where it can.
        with suppress(httpx.RemoteProtocolError):
            assert activate(network, south, client).status_code >= 400
    assert not resumable(network, trusted, session).session_reused
    with pytest.raises(EnrolmentError, match="certificate revoked"):
        memberships.renew(south, datetime.now(UTC))
    shown = typed(at_coordinator, "sites", "--home", network.home.folder)
    assert "south: revoked 20" in shown
    until(lambda: "admissions: south revoked" in network.said)


def resumable(
    network: Network, trusted: ssl.SSLContext, before: ssl.SSLSocket | None = None
) -> ssl.SSLSocket:
    """A connection that takes up the session of the one before, if the server lets it."""
    with socket.create_connection(("127.0.0.1", network.port)) as plain:
        session = before.session if before is not None else None
        wrapped = trusted.wrap_socket(plain, server_hostname="127.0.0.1", session=session)
        wrapped.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while wrapped.recv(4096):
            pass
        return wrapped


def test_a_superlink_that_dies_comes_back(network: Network, valid: ssl.SSLContext) -> None:
    def started() -> list[int]:
        lines = [line for line in network.said.splitlines() if "superlink: started" in line]
        return [int(line.rpartition(" ")[2]) for line in lines]

    os.kill(started()[-1], signal.SIGKILL)
    until(lambda: "superlink: ended with -9" in network.said)
    assert network.get("/v1/fleet/activate-node", valid)[0] == 503
    until(lambda: len(started()) >= 2)
    until(network.superlink.healthy, lambda: network.log("superlink"))
    assert network.get("/health", valid, "GET")[0] == 200
    registrar = Registrar(network.home)
    assert registrar.settle(network.superlink) == []  # it has forgotten nobody
    registrar.close()


def test_only_one_runs(network: Network) -> None:
    command = [sys.executable, "-m", "fedward_shared.cli", "coordinator", "run"]
    second = subprocess.run(
        [*command, "--home", network.home.folder], capture_output=True, text=True, check=False
    )
    assert second.returncode == 8
    assert "this coordinator is running already" in second.stderr


def test_a_stop_leaves_nothing_and_no_secret_was_written_anywhere(network: Network) -> None:
    """The last test: it ends the coordinator, and reads whatever was printed, logged or kept."""
    assert len(list(living_in(network.root))) >= 7  # nginx has two workers
    network.process.terminate()
    assert network.process.wait(PATIENCE) == 0, network.said
    until(lambda: not list(living_in(network.root)))
    assert network.said.splitlines()[-1].endswith("superlink: stopped")

    keys = [p for p in network.root.rglob("*") if p.suffix == ".key" or p.name == "key"]
    assert len(keys) >= 10
    secrets = {line for path in keys for line in path.read_text().splitlines() if "--" not in line}
    for path in network.root.glob("*.invitation"):
        secrets.add(path.read_text().partition('"token":"')[2][:64])
    secrets.add((network.home.folder / "superexec.secret").read_bytes().hex())
    assert len(secrets) > 20
    written = [network.home.admissions, network.root / "run.out", *network.home.proxy.glob("*")]
    written += [*(network.home.folder / "logs").iterdir()]
    texts = [p.read_text(errors="replace") for p in written if p.is_file()]
    for text in [*texts, network.seen]:
        assert "PRIVATE KEY" not in text
        for secret in secrets:
            assert secret not in text
