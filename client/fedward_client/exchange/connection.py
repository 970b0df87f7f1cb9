"""The connection of a line: one gRPC stream to the coordinator, made again whenever it breaks.

All connections of a process share one thread, which also writes the journals: a message waits for one
write to disk, and those that come meanwhile share the next.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import grpc
import grpc.aio
import structlog

from fedward_client.exchange.lines import SiteLine
from fedward_client.memberships import Membership
from fedward_shared.backoff import Backoff
from fedward_shared.errors import ExchangeError, StateError
from fedward_shared.exchange.hops import BEAT_SECONDS, MAX_HOP, METHOD, SILENT_SECONDS, Hop

TICK_SECONDS = 0.1
PARTING_SECONDS = 2.0
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_HOP),
    ("grpc.max_send_message_length", MAX_HOP),
    ("grpc.use_local_subchannel_pool", 1),
]
Dial = Callable[[], grpc.aio.Channel]

log = structlog.get_logger()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Never closed: gRPC keeps every loop that it has seen, and what comes late still goes there."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="exchange", daemon=True).start()
    return loop


def dialling(membership: Membership) -> Dial:
    """Mutual TLS to the coordinator, with the certificate as it is on disk each time, through the
    institution's proxy where there is one."""

    def dial() -> grpc.aio.Channel:
        try:
            credentials = grpc.ssl_channel_credentials(
                membership.ca.read_bytes(),
                membership.key.read_bytes(),
                membership.certificate.read_bytes(),
            )
        except OSError as error:
            raise StateError(f"{error.filename}: cannot be read: {error.strerror}") from error
        options = OPTIONS + _through(membership.address)
        return grpc.aio.secure_channel(membership.address, credentials, options)

    return dial


def _through(address: str) -> list[tuple[str, str | int]]:
    """The proxy that all else of the site goes through: gRPC by itself reads no names in capitals."""
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if proxy_bypass(address):
        return [("grpc.enable_http_proxy", 0)]
    if not proxy:
        return []
    return [("grpc.http_proxy", proxy if "://" in proxy else f"http://{proxy}")]


class Connection:
    """Connects `line` by `dial` from `start` to `close`."""

    def __init__(self, line: SiteLine, dial: Dial, backoff: Backoff | None = None) -> None:
        self._line = line
        self._dial = dial
        self._backoff = backoff or Backoff()
        self._loop = _loop()
        self._stopping, self._woken = asyncio.Event(), asyncio.Event()
        self._call: Any = None
        self._beat_due = 0.0
        self._running: Future[None] | None = None
        line.wake = self._wake

    def start(self) -> None:
        """Returns at once: who waits for the peers waits in the line."""
        self._running = asyncio.run_coroutine_threadsafe(self._main(), self._loop)

    def close(self) -> None:
        """Ends the connection and the line, when what may go out is out."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._wake()
        if self._running is not None:
            self._running.result()
        self._line.fail(ExchangeError("the line was closed"))

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._woken.set)

    async def _main(self) -> None:
        try:
            await self._run()
        finally:
            self._line.fail(ExchangeError("the connection to the coordinator has ended"))

    async def _run(self) -> None:
        writing = asyncio.create_task(self._write())
        while not self._over:
            started = time.monotonic()
            problem = await self._once()
            self._call = None
            self._line.disconnected(problem)
            if not self._over:
                wait = self._backoff.after(time.monotonic() - started)
                log.warning("no connection for the exchange", reason=problem, again_in=wait)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), wait)
        self._stopping.set()
        self._woken.set()
        await writing

    @property
    def _over(self) -> bool:
        return self._stopping.is_set() or self._line.failure is not None

    async def _once(self) -> str:
        """One connection, until it breaks; why it did."""
        try:
            async with self._dial() as channel:
                # Attendance comes first: a beat before it would be no hop of a party.
                self._beat_due = time.monotonic() + BEAT_SECONDS
                self._call = channel.stream_stream(METHOD)()
                stopping = asyncio.create_task(self._stopping.wait())
                reading = asyncio.create_task(self._read(self._call))
                await asyncio.wait({stopping, reading}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    await self._say_the_rest(self._call, reading)
                for task in (stopping, reading):
                    task.cancel()
                return await reading
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name.lower()}: {error.details()}"
        except StateError as error:
            return str(error)
        except asyncio.CancelledError:
            return "stopped"

    async def _read(self, call: Any) -> str:
        while True:
            try:
                data = await asyncio.wait_for(call.read(), SILENT_SECONDS)
            except TimeoutError:
                return "the coordinator is silent"
            if data is grpc.aio.EOF:
                return f"the coordinator ended it: {await call.details()}"
            try:
                self._line.take(Hop.decode(data))
            except ExchangeError as error:
                return str(error)
            if self._over:
                return "over"

    async def _write(self) -> None:
        """Everything that goes out, in order; the journal first."""
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), TICK_SECONDS)
            self._woken.clear()
            call = self._call
            self._line.tick()
            await self._flush(call)
            if time.monotonic() >= self._beat_due:
                await self._out(call, Hop("beat"))

    async def _say_the_rest(self, call: Any, reading: asyncio.Task[str]) -> None:
        """What was written last is lost with a call that is cancelled: so the relay ends it."""
        await self._flush(call)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.done_writing()
            await asyncio.wait({reading}, timeout=PARTING_SECONDS)

    async def _flush(self, call: Any) -> None:
        for hop in self._line.flush():
            await self._out(call, hop)

    async def _out(self, call: Any, hop: Hop) -> None:
        """A connection that breaks is noticed where it is read."""
        if call is not None and call is self._call:
            self._beat_due = time.monotonic() + BEAT_SECONDS
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(hop.encode())
