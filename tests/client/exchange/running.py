"""The real relay and sites' ends of it, on loopback, for tests."""

import asyncio
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc.aio
from conftest import key_of
from e2e.federation import free_ports
from patience import PATIENCE

from fedward_client.exchange.connection import Connection
from fedward_client.exchange.journal import Journal
from fedward_client.exchange.lines import SiteLine
from fedward_client.exchange.party import Seat
from fedward_server.exchange.service import Service, server
from fedward_server.exchange.sessions import Session, Sessions
from fedward_shared.backoff import Backoff

CHARTER, ID = "sha256:" + "1" * 64, "ab" * 32
PARTIES = ("bank", "bureau")


class RunningRelay:
    """The real server on a port of loopback, in a thread; it can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        [self.port] = free_ports(1)
        self.sessions = Sessions(folder)
        self.open(ID)
        self.start()

    def open(self, session: str, patience: float = 600.0) -> None:
        self.sessions.open(
            Session(
                session=session,
                charter=CHARTER,
                study="credit",
                parties={name: key_of(name).public.text for name in PARTIES},
                deadline=datetime.now(UTC) + timedelta(hours=1),
                patience=patience,
            )
        )

    def start(self) -> None:
        self._loop, started = asyncio.new_event_loop(), threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        assert started.wait(PATIENCE)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        async def main() -> None:
            service = Service(self.sessions)
            running = server(service, f"127.0.0.1:{self.port}")
            await running.start()
            started.set()
            while not self._stop.is_set():
                service.tick()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), 0.1)
            await running.stop(0)

        self._loop.run_until_complete(main())


class Site:
    """A site's end; `crash` leaves the journal as it is and lets all else go."""

    def __init__(self, relay: RunningRelay, folder: Path, name: str, signer: str = "") -> None:
        self.journal = Journal(folder / name, ID, key_of(name).derive("exchange journal"))
        peers = {peer: key_of(peer).public for peer in PARTIES if peer != name}
        seat = Seat(CHARTER, ID, name, key_of(signer or name), peers)
        self.line = SiteLine(seat, self.journal, patience=PATIENCE)
        address = f"127.0.0.1:{relay.port}"
        self._connection = Connection(
            self.line, lambda: grpc.aio.insecure_channel(address), Backoff(wait=0.05)
        )
        self._connection.start()

    def crash(self) -> None:
        self._connection.close()
        self.journal.close()
