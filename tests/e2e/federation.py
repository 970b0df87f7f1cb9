"""A whole deployed federation on loopback: real processes, TLS, node keys, nothing left behind.

    SuperLink (TLS, SQLite, process isolation) ← SuperExec → flwr-serverapp
              ↑ Fleet API, signed with each node's key
    fedward site run × N: gate, socket, and a worker → flower-supernode → SuperExec → flwr-clientapp

Every process gets a process group and an environment of its own, and everything it writes goes
below one temporary folder (`FLWR_HOME` and `HOME` too: Flower unpacks bundles there). Cleaning up
trusts neither parents nor groups alone: each process carries a random mark in its environment,
and whatever still carries it at the end is killed by its id.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from patience import PATIENCE

from fedward_client import memberships
from fedward_client import settings as site_settings
from fedward_client.supervision import MARK as SUPERVISED
from fedward_server.registry import register
from fedward_server.studies import STUDY_FILE, Study
from fedward_server.superlink import ConfigValue, Node, RunStatus, SuperLink, UnreachableError

BUNDLE = Path(__file__).parents[2] / "deploy" / "flower-app"
BIN = Path(sys.executable).parent
MARK = "FEDWARD_E2E_MARK"

# How often a SuperExec asks for work, a second by default: less to wait for every message. Each time
# costs a SuperLink 10 ms, which several federations on two cores feel if it is much less.
TASK_POLL_S = "0.5"


class Federation:
    """Start with `with Federation(tmp, site_tomls) as federation:`; see the module's docstring."""

    def __init__(
        self,
        root: Path,
        sites: Sequence[Path],
        *,
        python_path: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        bundle: Path = BUNDLE,
    ) -> None:
        """`sites` are the `site.toml` files, one for each SuperNode, in the order of the indexes.

        `python_path` is for throw-away apps; `env` is added to every process.
        """
        self.root = root
        self.sites = list(sites)
        self.bundle = bundle
        self.node_ids: list[int] = []
        self._mark = uuid.uuid4().hex
        self._extra = dict(env or {})
        self._python_path = os.pathsep.join(str(path) for path in python_path)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._keys: list[ec.EllipticCurvePrivateKey] = []

    # -- life ------------------------------------------------------------------------------

    def __enter__(self) -> Federation:
        try:
            self._prepare()
            self.start_superlink()
            self.start_superexec()
            for index, key in enumerate(self._keys):
                self.node_ids.append(self.superlink.register(key.public_key(), f"site-{index}"))
                self.admit(index)
                self.start_site(index)
            self.wait_online(range(len(self.sites)))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill everything that this federation ever started; safe to call twice.

        SIGKILL from the start: nobody's last words matter to a test, and Flower's own graceful
        exit takes seconds for each process.
        """
        for name in list(self._processes):
            self._kill_group(name)
        deadline = time.monotonic() + PATIENCE
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        if left:
            raise RuntimeError(f"processes left behind: {left}")

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for folder in ("tls", "keys", "logs", "flwr"):
            (self.root / folder).mkdir(exist_ok=True)
        write_certificates(self.root / "tls")
        (self.root / "superexec.secret").write_bytes(os.urandom(32))
        [self.port] = free_ports(1)
        self.superlink = SuperLink(f"127.0.0.1:{self.port}", self.root / "tls" / "ca.pem")
        for index in range(len(self.sites)):
            key = ec.generate_private_key(ec.SECP384R1())
            self._keys.append(key)
            self._key_file(index).write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.OpenSSH,  # the one form that a SuperNode reads
                    serialization.NoEncryption(),
                )
            )
            self._key_file(index).chmod(0o600)

    # -- the coordinator -------------------------------------------------------------------

    def start_superlink(self) -> None:
        """Start, or start again, on the same ports and database; back when it answers."""
        tls = self.root / "tls"
        self._start(
            "superlink",
            "flower-superlink",
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--ssl-ca-certfile", str(tls / "ca.pem")),
            *("--ssl-certfile", str(tls / "server.pem"), "--ssl-keyfile", str(tls / "server.key")),
            *("--database", str(self.root / "superlink.sqlite")),
            *("--isolation", "process"),
            *("--superexec-auth-secret-file", str(self.root / "superexec.secret")),
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
        )
        self._until(self.superlink.healthy, "superlink")

    def kill_superlink(self) -> None:
        """SIGKILL, as a power cut would."""
        self._kill_group("superlink")

    def restart_superlink(self) -> None:
        self.kill_superlink()
        self.start_superlink()

    def start_superexec(self) -> None:
        """The process that starts ServerApps; it waits for a SuperLink that is down."""
        self._start(
            "superexec",
            "flower-superexec",
            *("--runtime-api-address", f"127.0.0.1:{self.port}"),
            *("--root-certificates", str(self.root / "tls" / "ca.pem")),
            *("--superexec-auth-secret-file", str(self.root / "superexec.secret")),
        )

    def kill_serverapp(self) -> list[int]:
        """SIGKILL the running ServerApp and leave its SuperExec alone; the ids that were killed.

        The SuperLink notices only when the task's heartbeat runs out, up to 60 s later: `stop`
        the run to have it finished at once.
        """
        return self._kill_command("flwr-serverapp", "superexec")

    # -- the sites -------------------------------------------------------------------------

    def start_site(self, index: int) -> None:
        """The site's daemon, which starts its worker, which starts the SuperNode."""
        self._start(
            f"site-{index}",
            sys.executable,
            *("-m", "fedward_shared.cli", "site", "run", "--site", str(self.sites[index])),
        )

    def admit(self, index: int) -> None:
        """What enrolment leaves at a site, whose coordinator here is the SuperLink itself."""
        settings = site_settings.load(self.sites[index])
        [(name, key)] = settings.coordinators.items()
        place = memberships.folder(settings) / name
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        tls = self.root / "tls"
        for source, target in (
            (tls / "ca.pem", "ca.pem"),
            (tls / "server.pem", "client.pem"),
            (tls / "server.key", "client.key"),
            (self._key_file(index), "node.key"),
        ):
            shutil.copy(source, place / target)
        details = {
            "coordinator": name,
            "address": f"127.0.0.1:{self.port}",
            "key": key,
            "site": settings.name,
        }
        (place / "membership.json").write_text(json.dumps(details))

    def kill_site(self, index: int) -> None:
        """SIGKILL the daemon, its worker and all below, as a power cut would."""
        self._kill_group(f"site-{index}")
        for pid in self._below(index):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_command(self, index: int, command: str) -> list[int]:
        """SIGKILL what of a site's processes has `command` in its command line."""
        killed = [pid for pid, line in self._below(index).items() if command in line]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        return killed

    def stop_site(self, index: int) -> int:
        """SIGTERM, as systemd would; the exit code."""
        process = self._processes[f"site-{index}"]
        process.terminate()
        return process.wait(PATIENCE)

    def _below(self, index: int) -> dict[int, str]:
        """The processes below a site's daemon."""
        folder = str(self.sites[index].parent)
        return {p: c for p, (c, mark) in self._all().items() if folder in mark}

    def sign_off(self, index: int) -> None:
        """Tell the SuperLink, with the site's own key, that its SuperNode is gone.

        What a site's daemon can do for a SuperNode that was killed: without it the SuperLink
        calls the node online for up to 60 s and refuses to let it in again (305/2004).
        """
        key = self._keys[index]
        with FleetHttpClient.from_server_address(
            f"127.0.0.1:{self.port}",
            insecure=False,
            root_certificates=(self.root / "tls" / "ca.pem").read_bytes(),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(key, key.public_key()),
            ],
        ) as client:
            client.DeactivateNode(DeactivateNodeRequest(node_id=self.node_ids[index]))

    def wait_online(self, indexes: Sequence[int] | range) -> None:
        """Back when the SuperLink calls these sites online."""
        wanted = {self.node_ids[index] for index in indexes}

        def online() -> bool:
            nodes: list[Node] = self.superlink.nodes()
            return wanted <= {node.node_id for node in nodes if node.status == "online"}

        names = [f"site-{index}" for index in indexes]
        self._until(online, *names)

    # -- runs ------------------------------------------------------------------------------

    def run(self, **run_config: ConfigValue) -> int:
        """Submit the bundle; `study="sha256:…"` and the like override its configuration."""
        return self.superlink.submit(self.bundle, run_config)

    def wait(self, run_id: int) -> RunStatus:
        try:
            return self.superlink.wait(run_id, PATIENCE, poll_s=1.0)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log_tails()}") from None

    def log(self, name: str) -> str:
        """All that `superlink`, `superexec` or `site-N` and their children have printed."""
        return (self.root / "logs" / f"{name}.log").read_text(errors="replace")

    def log_tails(self, lines: int = 40) -> str:
        """The end of every log, for a failing test's message."""
        parts = []
        for path in sorted((self.root / "logs").iterdir()):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"== {path.name} ==", *tail]))
        return "\n".join(parts)

    def processes(self) -> dict[int, str]:
        """Every living process of this federation, by id: its command line."""
        return {pid: command for pid, (command, _) in self._all().items()}

    def _all(self) -> dict[int, tuple[str, str]]:
        """Each process: its command line, and the mark that a site's daemon has given it, if any.

        Those carry no mark of ours: a worker hands on no environment.
        """
        found = {}
        for pid, command, environment in all_processes():
            mark = environment.get(SUPERVISED, "")
            if environment.get(MARK) == self._mark or any(
                str(s.parent) in mark for s in self.sites
            ):
                found[pid] = (command, mark)
        return found

    # -- the machinery ---------------------------------------------------------------------

    def _key_file(self, index: int) -> Path:
        return self.root / "keys" / f"site-{index}.key"

    def _environment(self, name: str) -> dict[str, str]:
        """A clean environment: no proxy, no telemetry, no update check, no one's `~/.flwr`."""
        home = self.root / "flwr" / name
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.pathsep.join([str(BIN), "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": str(home),
            "FLWR_HOME": str(home),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            "LANG": "C.UTF-8",
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": TASK_POLL_S,
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",  # N sites train on a few cores: one thread each
            MARK: self._mark,
        }
        if self._python_path:
            environment["PYTHONPATH"] = self._python_path
        return environment | self._extra

    def _start(self, name: str, command: str, *arguments: str) -> None:
        old = self._processes.get(name)
        if old is not None and old.poll() is None:
            raise RuntimeError(f"{name} is still running")
        log: IO[bytes]
        with (self.root / "logs" / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [command if "/" in command else str(BIN / command), *arguments],
                cwd=self.root / "flwr",
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _kill_group(self, name: str) -> None:
        """Kill the leader and all that it started.

        The group first, the `wait` after: until it is reaped, the leader's id can't be reused.
        A leader that was reaped before is skipped; its orphans are found by their mark.
        """
        process = self._processes[name]
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:
            for pid, _ in self._members(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _members(self, name: str) -> Iterator[tuple[int, str]]:
        """The living processes of one group that carry our mark."""
        group = self._processes[name].pid
        for pid, command in self.processes().items():
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid) == group:
                    yield pid, command

    def _kill_command(self, command: str, name: str) -> list[int]:
        killed = []
        for pid, line in self._members(name):
            if command in line:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        return killed

    def _until(self, ready: Callable[[], bool], *names: str) -> None:
        """Poll; give up at once when one of the named processes has died."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(UnreachableError):
                if ready():
                    return
            for name in names:
                if (code := self._processes[name].poll()) is not None:
                    raise RuntimeError(f"{name} exited with {code}\n{self.log_tails()}")
            time.sleep(0.1)
        raise TimeoutError(f"{', '.join(names)}: not ready in {PATIENCE:g} s\n{self.log_tails()}")


def known_as(folder: Path) -> str:
    """Registers the study in `folder` with this coordinator; the name that a run gets of it.

    A simulation's study looks for answers a hundred times a second, which keeps a SuperLink busy.
    """
    settings = folder / STUDY_FILE
    text = settings.read_text("utf-8")
    settings.write_text(text.replace("poll_seconds = 0.01", "poll_seconds = 0.5"), "utf-8")
    digest = Study(folder).charter.digest
    register(folder, digest)
    return digest


def all_processes() -> Iterator[tuple[int, str, dict[str, str]]]:
    """Living processes with command line and environment, from /proc; zombies have none."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # gone since, or someone else's
            environment = (entry / "environ").read_bytes().decode(errors="replace")
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            pairs = (part.partition("=") for part in environment.split("\0") if "=" in part)
            yield int(entry.name), line, {name: value for name, _, value in pairs}


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all different: each is held until the last is found."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            ports.append(int(held.getsockname()[1]))
        return ports


def write_certificates(folder: Path) -> None:
    """`ca.pem`, `server.pem` and `server.key`: an EC authority, a certificate for loopback."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedward e2e CA")])
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = (
        _certificate(name, ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_key_usage(ca=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "server.key").chmod(0o600)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=90))
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
