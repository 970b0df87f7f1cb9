"""`fedward site run`: the site's standing process, and the only one that holds its keys and its ledger.

    worker (SuperNode, ClientApps) ── socket ──→ Trusted      policy → ledger → keys → egress
            └─ loopback TLS ──→ Gate ── mutual TLS ──→ the coordinator

One worker socket, one gate and one SuperNode for each coordinator that admitted the site, so that what
was cleared for one goes to no other.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from fedward_client import memberships, readiness, vault, worker
from fedward_client import settings as site_settings
from fedward_client.gate.proxy import Counters
from fedward_client.health import Health
from fedward_client.ledger import now
from fedward_client.post import Post, WorkerUser
from fedward_client.serving import server, spare_loopback
from fedward_client.settings import SiteSettings
from fedward_client.site import Site
from fedward_client.supervision import MARK, Program, Supervised, end_marked
from fedward_shared.errors import FedwardError, StateError, UsageError

LOCK_FILE = "daemon.lock"
RENEWAL = timedelta(hours=6)
"""How often certificates are looked at."""

SWEEP_SECONDS = 60.0
"""How often secrets of masked rounds are looked at, whether they have expired."""

log = structlog.get_logger()


class Daemon:
    """Opened from its `site.toml`. Raises FedwardError for anything that is wrong with the site."""

    def __init__(self, path: Path, with_worker: bool) -> None:
        self.settings = settings = site_settings.load(path)
        with closing(Site(settings)):
            pass  # a ledger that does not fit its log stops the daemon, before anybody is connected
        self._user = WorkerUser.of(settings)
        if with_worker:
            self._prepare_worker()
        self._prepare_runtime()
        found = memberships.all_of(settings)
        if not found:
            raise StateError(
                f"{memberships.folder(settings)}: no coordinator has admitted this site yet; "
                "`fedward site enrol INVITATION` does that"
            )
        self.registry = CollectorRegistry()
        counters = Counters(self.registry)
        self.posts = [Post(m, path, settings, counters, self._user) for m in found]
        self.worker = self._worker() if with_worker else None
        contacts = {post.membership.coordinator: post.contact for post in self.posts}
        self.health = Health(path, contacts, self.worker, self.registry)

    def _prepare_worker(self) -> None:
        """Only root starts a process of another user, and makes its folder for it.

        Where the worker has a unit of its own, the folder is that unit's. Raises UsageError.
        """
        if self._user.user == os.getuid():
            return
        if os.getuid() != 0:
            raise UsageError(
                f"site.toml: worker_user: only root can start a worker as {self._user.name}; run "
                "`fedward site run --no-worker`, and `fedward site worker` as that user"
            )
        cache = self.settings.cache
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(cache, self._user.user, -1 if self._user.group is None else self._user.group)

    def _prepare_runtime(self) -> None:
        runtime = self.settings.runtime
        runtime.mkdir(parents=True, exist_ok=True)
        for old in runtime.glob(f"*{worker.HANDOVER_SUFFIX}"):
            old.unlink()  # of a coordinator that is no more
        runtime.chmod(0o700 if self._user.group is None else 0o750)
        self._user.give(runtime)

    def _worker(self) -> Supervised:
        name = self._user.name
        program = Program(
            name="worker",
            command=[
                *(sys.executable, "-m", "fedward_shared.cli", "site", "worker"),
                *("--runtime", str(self.settings.runtime)),
            ],
            environment=worker.inherited() | {MARK: f"worker:{self.settings.runtime}"},
            patience=worker.GRACE_SECONDS + 2 * worker.STOP_SECONDS,
            user=name,
            group=self._user.group,
        )
        return Supervised(program, _relay, _worker_ended)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Then the worker finishes first, and the gate closes last."""
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        marks = [post.hand_over().mark for post in self.posts]
        for post in self.posts:
            post.listener.start()
        servers = [asyncio.create_task(post.serve()) for post in self.posts]
        health_server = server(self.health.app())
        servers.append(asyncio.create_task(health_server.serve(sockets=[self.health.open()])))
        standing = [asyncio.create_task(each) for each in (self._renew(), self._sweep())]
        working = asyncio.create_task(self.worker.run()) if self.worker else None
        readiness.tell()
        log.info("site is up", site=self.settings.name, health=self.health.address)
        await asked.wait()
        log.info("site is stopping; a round that is under way finishes first")
        if self.worker and working:
            await self.worker.stop()
            await working
            for mark in marks:
                end_marked(mark)  # of a worker that was killed just now
        for task in standing:
            task.cancel()
        for each in (*(post.server for post in self.posts), health_server):
            each.should_exit = True
        await asyncio.gather(*servers)
        for post in self.posts:
            post.listener.close()
        self.health.close()
        log.info("site has stopped")

    async def _renew(self) -> None:
        """Renews certificates before they expire; tries again where the coordinator is away."""
        while True:
            for post in self.posts:
                name = post.membership.coordinator
                try:
                    if await asyncio.to_thread(memberships.renew_if_due, post.membership, now()):
                        log.info("certificate renewed", coordinator=name)
                except FedwardError as error:
                    log.error("certificate not renewed", coordinator=name, reason=str(error))
            await asyncio.sleep(RENEWAL.total_seconds())

    async def _sweep(self) -> None:
        """Erases what is kept of masked rounds that were never finished."""
        while True:
            try:
                vault.sweep(self.settings.runtime, now())
            except OSError as error:
                log.error("expired secrets cannot be erased", reason=str(error))
            await asyncio.sleep(SWEEP_SECONDS)


def _relay(line: str) -> None:
    """The worker's log is a part of this one."""
    print(line, file=sys.stderr, flush=True)


def _worker_ended(code: int, delay: float) -> None:
    log.error("worker ended", code=code, again_in=delay)


@contextmanager
def alone(settings: SiteSettings) -> Iterator[None]:
    """One daemon for a site. Raises StateError if there is another."""
    settings.state.mkdir(parents=True, exist_ok=True)
    path = settings.state / LOCK_FILE
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateError(f"{path}: this site's daemon is running already") from error
        yield


def run(path: Path, with_worker: bool) -> None:
    """Runs the daemon of the site with the settings in `path`. Raises FedwardError."""
    if (
        with_worker
        and shutil.which("flower-supernode", path=str(Path(sys.executable).parent)) is None
    ):
        raise StateError("flower-supernode is not installed beside fedward")
    spare_loopback()  # a refusal goes to the coordinator through this site's own gate
    with alone(site_settings.load(path)):
        asyncio.run(Daemon(path, with_worker).run())
