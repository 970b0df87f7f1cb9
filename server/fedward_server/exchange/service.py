"""The exchange as a server: gRPC on a Unix socket in the home, behind the proxy.

A thin shell: the decisions are in `relay.py`. The proxy has checked the certificate, and nobody but it
reaches the socket, so the headers that it sets are true. A sender is not read from while the queue of
whom it writes to is long. Logs have names, counts and bytes.
Run by `fedward coordinator run` as `python -m fedward_server.exchange.service HOME`.
"""

import asyncio
import itertools
import os
import re
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog

from fedward_server.coordinator import Home
from fedward_server.exchange.relay import Out, Relay
from fedward_server.exchange.sessions import Session, Sessions
from fedward_shared.errors import ExchangeError, FedwardError
from fedward_shared.exchange.hops import (
    BEAT_SECONDS,
    CHALLENGE_BYTES,
    MAX_HOP,
    METHOD,
    Hop,
    Refusal,
)

SUBJECT_HEADER = "x-client-subject"
MAX_QUEUE = 16 * 2**20
"""Bytes that wait for one party before its peers are read from no more."""
MAX_CONNECTIONS = 256
TICK_SECONDS = 1.0
GRACE_SECONDS = 2.0
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_HOP),
    ("grpc.max_send_message_length", MAX_HOP),
    ("grpc.so_reuseport", 0),
]

log = structlog.get_logger()


class _Queue:
    """What waits to go out on one connection."""

    def __init__(self) -> None:
        self._hops: deque[Hop] = deque()
        self._bytes = 0
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    def put(self, hop: Hop) -> None:
        self._hops.append(hop)
        self._bytes += len(hop.payload)
        self._filled.set()
        if self._bytes > MAX_QUEUE:
            self._room.clear()

    async def get(self) -> Hop:
        while not self._hops:
            self._filled.clear()
            await self._filled.wait()
        hop = self._hops.popleft()
        self._bytes -= len(hop.payload)
        if self._bytes <= MAX_QUEUE:
            self._room.set()
        return hop

    @property
    def has_room(self) -> bool:
        return self._room.is_set()

    async def room(self) -> None:
        """Back when there is room, or after a heartbeat's time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._room.wait(), BEAT_SECONDS)

    def close(self) -> None:
        """Nobody waits for room in it any more."""
        self._room.set()


class Service:
    """Every connection is a stream of hops, with a task that reads it and one that writes it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._relay = Relay(self._find)
        self._queues: dict[int, _Queue] = {}
        self._numbers = itertools.count(1)

    def handler(self) -> grpc.GenericRpcHandler:
        """The one method; bytes are passed as they are."""
        service, _, method = METHOD.strip("/").partition("/")
        stream = grpc.stream_stream_rpc_method_handler(self.connect)
        return grpc.method_handlers_generic_handler(service, {method: stream})

    async def connect(self, _: Any, context: Any) -> None:
        """One connection, from its challenge to its end."""
        number, queue = next(self._numbers), _Queue()
        self._queues[number] = queue
        challenge, site = os.urandom(CHALLENGE_BYTES), _site(context)
        self._deliver(self._relay.arrive(number, challenge, site, time.time()))
        reading = asyncio.create_task(self._read(number, context))
        try:
            await self._write(queue, context)
        finally:
            reading.cancel()
            self._leave(number, queue)

    def tick(self) -> None:
        """What time brings."""
        self._deliver(self._relay.tick(time.time()))

    async def _read(self, number: int, context: Any) -> None:
        """Until the party closes its side."""
        while (data := await context.read()) is not grpc.aio.EOF:
            try:
                hop = Hop.decode(data)
            except ExchangeError:
                out = self._relay.refuse(number, Refusal.HOP, time.time())
            else:
                out = self._relay.take(number, hop, time.time())
                if hop.kind == "attendance" and not _refused(number, out):
                    session, site = self._relay.whose(number)
                    log.info("attends", session=session[:16], site=site)
            self._deliver(out)
            for to, _ in out:
                await self._wait_for(to, number)
        context.cancel()

    async def _wait_for(self, to: int, sender: int) -> None:
        while (queue := self._queues.get(to)) is not None and not queue.has_room and to != sender:
            await queue.room()
            self._relay.heard(sender, time.time())

    @staticmethod
    async def _write(queue: _Queue, context: Any) -> None:
        """Until a refusal, which is the last hop."""
        while True:
            hop = await queue.get()
            await context.write(hop.encode())
            if hop.kind == "refused":
                return

    def _deliver(self, out: Out) -> None:
        for number, hop in out:
            if hop.kind == "refused":
                session, site = self._relay.whose(number)
                log.info("refused", session=session[:16], site=site, why=hop.why, missed=hop.peer)
            if number in self._queues:
                self._queues[number].put(hop)

    def _leave(self, number: int, queue: _Queue) -> None:
        session, site = self._relay.whose(number)
        del self._queues[number]
        queue.close()
        self._deliver(self._relay.leave(number, time.time()))
        if site:
            sent = self._relay.counts(session).get(site)
            frames, size = (sent.frames, sent.bytes) if sent else (0, 0)
            log.info("left", session=session[:16], site=site, frames=frames, bytes=size)

    def _find(self, session: str) -> Session | None:
        try:
            return self._sessions.find(session)
        except ExchangeError as error:
            log.error("a session cannot be read", reason=str(error))
            return None


def _refused(number: int, out: Out) -> bool:
    return any(to == number and hop.kind == "refused" for to, hop in out)


def _site(context: Any) -> str:
    """The site of the certificate that the proxy has checked."""
    for key, value in context.invocation_metadata():
        if key == SUBJECT_HEADER:
            found = re.fullmatch(r"CN=([a-z0-9][a-z0-9_-]{0,62})", str(value))
            # A name that is none of a site is nobody's, rather than no certificate.
            return found[1] if found else "?"
    return ""


def server(service: Service, address: str) -> grpc.aio.Server:
    """A server that is not started; `address` as gRPC has them: `unix:PATH`, `HOST:PORT`."""
    made = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=MAX_CONNECTIONS)
    made.add_generic_rpc_handlers((service.handler(),))
    made.add_insecure_port(address)
    return made


async def serve(home: Home, stop: asyncio.Event) -> None:
    """Serves until `stop` is set."""
    home.exchange_socket.parent.mkdir(mode=0o700, exist_ok=True)
    home.exchange_socket.unlink(missing_ok=True)
    service = Service(Sessions(home.sessions))
    running = server(service, f"unix:{home.exchange_socket}")
    await running.start()
    while not stop.is_set():
        service.tick()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_SECONDS)
    await running.stop(GRACE_SECONDS)


async def main(folder: Path) -> None:
    """Serves until SIGTERM or SIGINT. Raises UsageError for a home that cannot be used."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(Home(folder), stop)


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except FedwardError as refused:
        print(f"exchange: {refused}", file=sys.stderr)
        sys.exit(refused.exit_code)
