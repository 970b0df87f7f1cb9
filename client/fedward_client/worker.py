"""The worker: the unprivileged process that keeps a SuperNode alive for each coordinator.

It knows what the daemon has put into the runtime folder for it: the gate's address on loopback, the
node's key and a socket. Everything that Flower starts for a message runs below it.
"""

import asyncio
import os
import re
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from fedward_client import limits
from fedward_client.supervision import MARK, Program, Supervised, marked
from fedward_shared import canonical
from fedward_shared.errors import StateError

HANDOVER_SUFFIX = ".worker.json"
GRACE_SECONDS = 300.0
"""For how long a round that is under way may finish when the site is stopped."""

STOP_SECONDS = 15.0
"""For how long a SuperNode may take to sign off."""

PUSH_SECONDS = 2.0
"""The SuperNode looks for a finished reply twice a second."""

INHERITED = ("LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "FLWR_SUPEREXEC_TASK_POLL_INTERVAL")
BUSY = "flwr-clientapp"
DECORATION = re.compile(r"\x1b\[[0-9;]*m|INFO\s*:\s*")

STILL_COUNTED = "[code: 2004]"
"""Flower's code for a node that is there already: a SuperNode that was killed counts for a minute."""

UNCOUNTED_SECONDS = 70.0
"""For so long a SuperNode that could not sign off is not followed by another one. The message that it
had pulled is sent again only if the coordinator, which looks each second, sees that the site is gone."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Handover:
    """What the daemon hands to the worker for one coordinator. Paths are absolute.

    `home` is a folder that belongs to the worker, where Flower unpacks bundles.
    """

    coordinator: str
    gate: str
    ca: str
    node_key: str
    socket: str
    home: str
    threads: int
    memory_bytes: int

    @property
    def mark(self) -> str:
        """What tells the processes of this SuperNode from all others on the machine."""
        return f"{self.home}:{self.coordinator}"

    def write(self, folder: Path, group: int | None) -> None:
        """Puts it into the runtime folder, for the owner and `group`."""
        path = folder / f"{self.coordinator}{HANDOVER_SUFFIX}"
        path.write_bytes(canonical.encode(asdict(self)))
        path.chmod(0o640)
        if group is not None:
            os.chown(path, -1, group)


def handovers(folder: Path) -> list[Handover]:
    """All that lie in the runtime folder. Raises StateError for one that cannot be read."""
    found = []
    for path in sorted(folder.glob(f"*{HANDOVER_SUFFIX}")):
        try:
            found.append(Handover(**canonical.decode(path.read_bytes())))
        except (OSError, ValueError, TypeError) as error:
            raise StateError(f"{path}: cannot be read: {error}") from error
    if not found:
        raise StateError(
            f"{folder}: nothing to do; is `fedward site run` up, and is the site enrolled?"
        )
    return found


def program(handover: Handover, port: int) -> Program:
    """The SuperNode of one coordinator; its own address on loopback has the number `port`."""
    return Program(
        name=f"SuperNode of {handover.coordinator}",
        command=[
            str(Path(sys.executable).parent / "flower-supernode"),
            *("--superlink", handover.gate),
            *("--root-certificates", handover.ca),
            *("--auth-supernode-private-key", handover.node_key),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--node-config", f'socket="{handover.socket}"'),
        ],
        environment=environment(handover),
        patience=STOP_SECONDS,
    )


def inherited() -> dict[str, str]:
    """What the worker, and all below it, gets of an environment: no proxy, no credentials, no home."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def prepare(handover: Handover) -> None:
    """Makes the folder for Flower. Raises StateError where the worker's user may not."""
    home = Path(handover.home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"{home}: cannot be made: {error.strerror}; `cache` of site.toml has to be a folder of the "
            "worker's user"
        ) from error


def environment(handover: Handover) -> dict[str, str]:
    """The whole environment of Flower's processes."""
    return inherited() | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin"]),
        "HOME": handover.home,
        "FLWR_HOME": handover.home,
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(handover.threads),
        "PYTHONUNBUFFERED": "1",
        MARK: handover.mark,
    }


def supervised(handover: Handover, port: int) -> Supervised:
    """The SuperNode of one coordinator, kept alive."""
    name, counted = handover.coordinator, False

    def said(line: str) -> None:
        nonlocal counted
        plain = DECORATION.sub("", line).strip()
        if STILL_COUNTED in plain:
            counted = True
            log.warning("the coordinator still counts the last SuperNode", coordinator=name)
        elif plain:
            log.info("supernode", coordinator=name, said=plain)

    def ended(code: int, delay: float) -> None:
        log.error("supernode ended", coordinator=name, code=code, again_in=delay)

    def rest(code: int) -> float:
        nonlocal counted
        killed, counted = counted or code < 0, False
        return UNCOUNTED_SECONDS if killed else 0.0

    return Supervised(program(handover, port), said, ended, rest)


async def run(folder: Path) -> None:
    """Keeps all SuperNodes alive until SIGTERM or SIGINT; then lets what they do finish.

    A second signal ends them at once. Raises StateError as `handovers` and `prepare` do.
    """
    found = handovers(folder)
    limits.apply_limits(found[0].memory_bytes)  # of the one site that they all are of
    for handover in found:
        prepare(handover)
    nodes = [supervised(handover, _free_port()) for handover in found]
    asked, hurried = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurried if asked.is_set() else asked).set())
    running = [asyncio.create_task(node.run()) for node in nodes]
    await asked.wait()
    log.info("stopping", waits_at_most=GRACE_SECONDS)
    ends = [asyncio.create_task(_finish(nodes)), asyncio.create_task(_set(hurried))]
    await asyncio.wait(ends, timeout=GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*(node.stop() for node in nodes))
    await asyncio.gather(*running)
    for end in ends:
        end.cancel()


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _finish(nodes: list[Supervised]) -> None:
    """Until no round is under way any more, and the last one has been sent."""
    while any(BUSY in line for node in nodes for _, line in marked(node.program.mark)):
        await asyncio.sleep(PUSH_SECONDS)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
