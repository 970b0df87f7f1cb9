"""All that serves one coordinator at a site: the worker's socket, the gate, and its address."""

import asyncio
import os
import pwd
import socket
from dataclasses import dataclass
from pathlib import Path

import httpx
import structlog
from flwr.app import RecordDict

from fedward_client import settings as site_settings
from fedward_client.boundary.listener import Listener
from fedward_client.boundary.wire import Answer
from fedward_client.exchange.connection import dialling
from fedward_client.gate import loopback, notice
from fedward_client.gate.proxy import Contact, Counters, Proxy
from fedward_client.gate.rules import Gate
from fedward_client.limits import GIB
from fedward_client.memberships import Membership
from fedward_client.serving import LOOPBACK, server
from fedward_client.settings import SiteSettings
from fedward_client.trusted import Trusted
from fedward_client.worker import Handover
from fedward_shared import messages
from fedward_shared.errors import FedwardError, RefusalCode, UsageError
from fedward_shared.files import write_atomically

log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerUser:
    """Who the worker is: user and group, by number and, for the process, by name."""

    name: str | None
    user: int
    group: int | None

    @classmethod
    def of(cls, settings: SiteSettings) -> "WorkerUser":
        """That of the settings. Raises UsageError for one that the machine does not have."""
        if not settings.worker_user:
            return cls(None, os.getuid(), None)
        try:
            found = pwd.getpwnam(settings.worker_user)
        except KeyError as error:
            raise UsageError(
                f"site.toml: worker_user: the machine has no user {settings.worker_user}"
            ) from error
        return cls(settings.worker_user, found.pw_uid, found.pw_gid)

    def give(self, path: Path) -> None:
        """Lets the worker's group have `path`, where the worker is another user.

        Raises UsageError where this process may not: it is neither root's nor of that group.
        """
        if self.group is None:
            return
        try:
            os.chown(path, -1, self.group)
        except PermissionError as error:
            raise UsageError(
                f"{path}: cannot be given to the worker: site.toml has worker_user = {self.name}; start "
                "the daemon as root, or as a member of that user's group"
            ) from error


class Post:
    """All that serves one coordinator: the worker's socket, the gate and its address."""

    def __init__(
        self,
        membership: Membership,
        path: Path,
        settings: SiteSettings,
        counters: Counters,
        user: WorkerUser,
    ) -> None:
        self.membership = membership
        self._settings = settings
        self._user = user
        self.core = Trusted(
            lambda: site_settings.load(path),
            coordinator=membership.coordinator,
            dial=dialling(membership),
        )
        self.gate = Gate()
        self.proxy = Proxy(membership, self.gate, counters, self._bundle_refused)
        self._place = settings.runtime / membership.coordinator
        self.socket_path = self._place.with_suffix(".sock")
        self.listener = Listener(
            self.socket_path, self.core, self._answered, frozenset({user.user}), user.group
        )
        self._door = socket.socket()
        self._door.bind((LOOPBACK, 0))
        self.address = f"{LOOPBACK}:{self._door.getsockname()[1]}"
        self._ca, self._key = self._place.with_suffix(".pem"), self._place.with_suffix(".key")
        loopback.write(self._ca, self._key)
        self.server = server(self.proxy.app(), ssl_certfile=self._ca, ssl_keyfile=self._key)
        self._notices: set[asyncio.Task[None]] = set()

    @property
    def contact(self) -> Contact:
        """How the connection to the coordinator is."""
        return self.proxy.contact

    def _answered(self, answer: Answer) -> None:
        """What the trusted side has answered may pass the gate as a reply's content."""
        if isinstance(answer, messages.Answer):
            self.gate.clear(answer.to_record())

    def hand_over(self) -> Handover:
        """Tells the worker where gate and socket are, and gives it the node's key."""
        node_key = self._place.with_suffix(".node.key")
        write_atomically(node_key, self.membership.node_key.read_bytes(), mode=0o640)
        self._user.give(node_key)
        handover = Handover(
            coordinator=self.membership.coordinator,
            gate=self.address,
            ca=str(self._ca),
            node_key=str(node_key),
            socket=str(self.socket_path),
            home=str(self._settings.cache / "flower" / self.membership.coordinator),
            threads=self._settings.threads,
            memory_bytes=int((self._settings.limits.memory_gib or 0) * GIB),
        )
        handover.write(self._settings.runtime, self._user.group)
        return handover

    async def serve(self) -> None:
        """Until the server is told to end."""
        await self.server.serve(sockets=[self._door])
        await self.proxy.close()

    def _bundle_refused(self, run_id: int) -> None:
        """Tells the coordinator, which would see silence; runs beside the gate that it needs."""
        task = asyncio.create_task(self._tell(run_id))
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _tell(self, run_id: int) -> None:
        asked = list(self.gate.asked(run_id))
        try:
            await asyncio.to_thread(
                notice.send, self.address, self._ca, self.membership.node_key, asked, self._refuse
            )
        except (httpx.HTTPError, RuntimeError, FedwardError) as error:
            log.error("the coordinator could not be told of its bundle", reason=str(error))
            return
        for one in asked:
            self.gate.answered(one.metadata.message_id)

    def _refuse(self, content: RecordDict) -> RecordDict:
        record = self.core.refuse(*messages.question(content), RefusalCode.BUNDLE).to_record()
        self.gate.clear(record)
        return record
