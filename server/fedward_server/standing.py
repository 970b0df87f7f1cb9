"""`fedward coordinator run`: everything a coordinator needs, in one process tree.

    this process ─ flower-superlink    loopback, TLS, node authentication, its database in the home
                 ─ flower-superexec    starts ServerApps, each a process of its own
                 ─ enrolment service   on a socket in the home
                 ─ exchange            relays between the parties of a session, on another socket
                 ─ nginx               the only one that is reached from outside

A process that ends is started again, later each time. Between looking after them this one renews the
proxy's certificate, and sees to it that the SuperLink knows the nodes of admitted sites and no others.
"""

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fedward_server import proxy, registrar
from fedward_server.authority import CA_FILE, CRL_FILE
from fedward_server.coordinator import LOOPBACK, Home
from fedward_server.processes import POLL_SECONDS, Supervised
from fedward_server.registrar import Registrar
from fedward_server.superlink import SuperLink, SuperLinkError
from fedward_shared.cli import ENVIRONMENT
from fedward_shared.errors import StateError

SETTLE_SECONDS = 2.0
CERTIFICATE_SECONDS = 3600.0
Say = Callable[[str], None]


def run(home: Home, say: Say, stop: threading.Event) -> None:
    """Runs until `stop` is set. Raises FedwardError where it cannot start."""
    os.umask(0o077)  # what Flower writes is for the owner too
    lock = _lock(home.folder / "run.lock")
    coordinator = None
    try:
        coordinator = Coordinator(home, say)
        while not stop.is_set():
            coordinator.look(time.monotonic())
            stop.wait(4 * POLL_SECONDS)
    finally:
        if coordinator is not None:
            coordinator.close()
        os.close(lock)


def until_signalled() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


class Coordinator:
    """The processes of a home, and what has to be done beside them."""

    def __init__(self, home: Home, say: Say) -> None:
        self.home = home
        self.superlink = SuperLink(home.superlink_address, home.authority / CA_FILE)
        self._say = say
        self._ready = False
        self._settle_due = self._certificate_due = 0.0
        self._settled = -1  # bytes of the log that the SuperLink has been told of
        prepare(home)
        self.registrar = Registrar(home)
        self.registrar.publish()
        self._list_written = (home.authority / CRL_FILE).stat().st_mtime_ns
        self._told = len(self.registrar.entries)
        self.processes = [
            Supervised(name, command, home.folder / "logs" / f"{name}.log", environment(home), say)
            for name, command in commands(home).items()
        ]

    def look(self, now: float) -> None:
        """One turn."""
        if now >= self._certificate_due:
            self._certificate_due = now + CERTIFICATE_SECONDS
            self._renew()
        for process in self.processes:
            process.look(now)
        if now >= self._settle_due:
            self._settle_due = now + SETTLE_SECONDS
            self._settle()
            self._tell_ready()

    def close(self) -> None:
        """Stops them: first nobody comes in, last the SuperLink."""
        for process in reversed(self.processes):
            process.stop()
        self.registrar.close()

    def _renew(self) -> None:
        authority, address = self.home.open_authority(), self.home.settings.address
        if not authority.is_server_due(address, registrar.now()):
            return
        authority.certify_server(address, registrar.now())
        proxy.reload(self.home)
        self._say("proxy: certificate renewed")

    def _settle(self) -> None:
        """Where the log has become longer, or a SuperLink that was not there could not be told."""
        path = self.home.admissions
        size = path.stat().st_size if path.exists() else 0
        if size == self._settled:
            return
        self._tell()
        self._follow_revocations()
        try:
            said = self.registrar.settle(self.superlink)
        except SuperLinkError:
            return  # not there yet: in two seconds again
        if self._settled < 0:
            said.insert(0, "answers")
        self._settled = size
        for event in said:
            self._say(f"superlink: {event}")

    def _tell_ready(self) -> None:
        """Once: from now on sites can come."""
        running = all(process.is_running for process in self.processes)
        listening = self.home.socket.exists() and self.home.exchange_socket.exists()
        if not self._ready and self._settled >= 0 and running and listening:
            self._ready = True
            self._say(f"{self.home.name}: ready, at {self.home.settings.address}")

    def _follow_revocations(self) -> None:
        """Whoever wrote the list: a command that was cut off may have reloaded nothing."""
        self.registrar.publish()
        written = (self.home.authority / CRL_FILE).stat().st_mtime_ns
        if written != self._list_written:
            proxy.reload(self.home)
            self._list_written = written

    def _tell(self) -> None:
        entries = self.registrar.entries
        for entry in entries[self._told :]:
            self._say(f"admissions: {entry.details['site']} {entry.event}")
        self._told = len(entries)


def prepare(home: Home) -> None:
    """Makes the folders and the proxy's configuration, and clears what a killed one has left."""
    for socket in (home.socket, home.exchange_socket):
        socket.unlink(missing_ok=True)
    for folder in (home.folder / "logs", home.studies, home.sessions, home.folder / "flower"):
        folder.mkdir(mode=0o700, exist_ok=True)
    proxy.write_configuration(home)


def commands(home: Home) -> dict[str, list[str]]:
    """What is started, by name, in this order. Raises MissingExtra without nginx."""
    executables = Path(sys.executable).parent
    authority = home.authority
    ca, secret = str(authority / CA_FILE), str(home.secret)
    return {
        "superlink": [
            str(executables / "flower-superlink"),
            *("--host", LOOPBACK, "--port", str(home.settings.superlink_port)),
            *("--ssl-ca-certfile", ca),
            *("--ssl-certfile", str(authority / "superlink.pem")),
            *("--ssl-keyfile", str(authority / "superlink.key")),
            *("--database", str(home.folder / "superlink.sqlite")),
            # A ServerApp outlives a SuperLink that is started again, and the secret keeps others on
            # this machine from taking its work.
            *("--isolation", "process", "--superexec-auth-secret-file", secret),
            "--enable-supernode-auth",
            "--disable-runtime-dependency-installation",
        ],
        "superexec": [
            str(executables / "flower-superexec"),
            *("--runtime-api-address", home.superlink_address),
            *("--root-certificates", ca),
            *("--superexec-auth-secret-file", secret),
        ],
        "enrolment": [sys.executable, "-m", "fedward_server.enrolment_service", str(home.folder)],
        "exchange": [sys.executable, "-m", "fedward_server.exchange.service", str(home.folder)],
        "proxy": proxy.command(home),
    }


def environment(home: Home) -> dict[str, str]:
    """Where ServerApps find studies and sessions; nothing of Flower's goes outside the home."""
    own = home.places | {"FLWR_HOME": str(home.folder / "flower")}
    # SuperExec starts ServerApps by their name alone; nobody need have activated an environment.
    executables = str(Path(sys.executable).parent)
    own["PATH"] = os.pathsep.join([executables, os.environ.get("PATH", os.defpath)])
    return os.environ | ENVIRONMENT | own | {"PYTHONUNBUFFERED": "1"}


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise StateError(f"{path}: this coordinator is running already") from error
    return handle


def stamped(say: Say) -> Say:
    """`say` with the time before each line."""
    return lambda text: say(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {text}")
