"""Batches of embeddings between two parties through the relay: the real server, loopback, real journals.

A round trip is 256 × 64 numbers in single precision there and as many back: what split learning sends
for each batch. The relay is a process of its own, and so is the second party. The peer is gRPC alone: an
echo by one process, without a relay, envelopes or a journal. That is no product, but what it costs more
than that is what the exchange costs.
"""

import asyncio
import hashlib
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio

from fedward_client.exchange.connection import OPTIONS, Connection
from fedward_client.exchange.journal import JOURNAL, Journal
from fedward_client.exchange.lines import SiteLine
from fedward_client.exchange.party import Seat
from fedward_server.exchange import service
from fedward_server.exchange.sessions import Session, Sessions
from fedward_shared.backoff import Backoff
from fedward_shared.exchange.hops import METHOD
from fedward_shared.identity import SigningKey
from fedward_simulations.bench.rows import Row

BATCH = 256 * 64 * 4
ROUND_TRIPS = 400
WARM = 20
STREAMED = 1000
TIMEOUT = 60.0
GOAL_SECONDS = 1 / 200
PEER = "gRPC echo alone"
CHARTER, SESSION = "sha256:" + "1" * 64, "ab" * 32
PARTIES = ("bank", "bureau")
_SPAWN = multiprocessing.get_context("spawn")


def run(folder: Path) -> list[Row]:
    """Rows for the latency of a round trip, round trips in a second, throughput, and the disk."""
    ours, disk, seconds = _exchange(folder)
    peer = _echo()
    megabytes = STREAMED * BATCH / 1e6
    return [
        Row("a round trip of 64 KiB, median", 1e3 * ours, 1e3 * peer, PEER, "ms"),
        Row("the same, beside the goal of 200 in a second", ours, GOAL_SECONDS, "goal", "s", 1.0),
        Row("1 MB one way, in a stream of 64 KiB", 1e3 * seconds / megabytes, unit="ms"),
        Row("of a round trip, two writes to this disk", 2e3 * disk, unit="ms"),
    ]


def _exchange(folder: Path) -> tuple[float, float, float]:
    """Seconds of a round trip, of a write to disk in turns with it, and of the stream."""
    address = f"127.0.0.1:{_free_port()}"
    key = {name: _key(name).public.text for name in PARTIES}
    Sessions(folder / "sessions").open(
        Session(
            session=SESSION,
            charter=CHARTER,
            study="bench",
            parties=key,
            deadline=datetime.now(UTC) + timedelta(hours=1),
        )
    )
    others = [_begin(_relay, folder, address), _begin(_bureau, folder, address)]
    line, connection = _line(folder, "bank", address)
    try:
        batch = os.urandom(BATCH)

        def trip() -> None:
            line.send("bureau", batch)
            assert line.receive("bureau", TIMEOUT) == batch

        trips, disk = _medians(trip, _synced(folder / "synced"))
        started = time.perf_counter()
        for _ in range(STREAMED):
            line.send("bureau", batch)
        line.receive("bureau", TIMEOUT)
        return trips, disk, time.perf_counter() - started
    finally:
        connection.close()
        for process in others:
            process.terminate()
            process.join()


def _bureau(folder: Path, address: str) -> None:
    line, _ = _line(folder, "bureau", address)
    for _ in range(WARM + ROUND_TRIPS):
        line.send("bank", line.receive("bank", TIMEOUT))
    for _ in range(STREAMED):
        line.receive("bank", TIMEOUT)
    line.send("bank", b"all")
    line.finish(TIMEOUT)


def _relay(folder: Path, address: str) -> None:
    async def main() -> None:
        running = service.server(service.Service(Sessions(folder / "sessions")), address)
        await running.start()
        await running.wait_for_termination()

    asyncio.run(main())


def _line(folder: Path, name: str, address: str) -> tuple[SiteLine, Connection]:
    key = _key(name)
    journal = Journal(folder / name, SESSION, key.derive(JOURNAL))
    peers = {peer: _key(peer).public for peer in PARTIES if peer != name}
    line = SiteLine(Seat(CHARTER, SESSION, name, key, peers), journal)
    connection = Connection(line, lambda: grpc.aio.insecure_channel(address, OPTIONS), Backoff(0.1))
    connection.start()
    return line, connection


def _echo() -> float:
    """Seconds of a round trip of the peer."""
    address = f"127.0.0.1:{_free_port()}"
    process = _begin(_echoing, address)

    async def main() -> float:
        batch, seconds = os.urandom(BATCH), []
        async with grpc.aio.insecure_channel(address) as channel:
            await asyncio.wait_for(channel.channel_ready(), TIMEOUT)
            call = channel.stream_stream(METHOD)()
            for _ in range(WARM + ROUND_TRIPS):
                started = time.perf_counter()
                await call.write(batch)
                await call.read()
                seconds.append(time.perf_counter() - started)
            call.cancel()
        return statistics.median(seconds[WARM:])

    try:
        return asyncio.run(main())
    finally:
        process.terminate()
        process.join()


def _echoing(address: str) -> None:
    async def echo(_: Any, context: Any) -> None:
        while (data := await context.read()) is not grpc.aio.EOF:
            await context.write(data)

    async def main() -> None:
        running = grpc.aio.server()
        name, _, method = METHOD.strip("/").partition("/")
        handlers = {method: grpc.stream_stream_rpc_method_handler(echo)}
        running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        running.add_insecure_port(address)
        await running.start()
        await running.wait_for_termination()

    asyncio.run(main())


def _medians(*works: Callable[[], None]) -> list[float]:
    """Seconds of each, done in turns."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(WARM + ROUND_TRIPS):
        for work, taken in zip(works, seconds, strict=True):
            started = time.perf_counter()
            work()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken[WARM:]) for taken in seconds]


def _synced(path: Path) -> Callable[[], None]:
    """Writes a batch to the end of the file, and to disk."""
    file, batch = path.open("wb", buffering=0), bytes(BATCH)

    def write() -> None:
        file.write(batch)
        os.fsync(file.fileno())

    return write


def _begin(work: Callable[..., None], *arguments: object) -> Any:
    process = _SPAWN.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def _key(name: str) -> SigningKey:
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
