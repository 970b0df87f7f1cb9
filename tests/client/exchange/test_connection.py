"""Two sites and the real relay on loopback: what is sent arrives, also after a crash."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc.aio
import pytest
from conftest import key_of
from e2e.federation import free_ports

from fedward_client.exchange.connection import Connection
from fedward_client.exchange.journal import Journal
from fedward_client.exchange.lines import SiteLine
from fedward_client.exchange.party import Seat
from fedward_server.exchange.service import Service, server
from fedward_server.exchange.sessions import Session, Sessions
from fedward_shared.backoff import Backoff
from fedward_shared.errors import ExchangeError

CHARTER, ID = "sha256:" + "1" * 64, "ab" * 32
PARTIES = ("bank", "bureau")


class RunningRelay:
    """The real server on a port of loopback, in a thread; it can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        [self.port] = free_ports(1)
        self.sessions = Sessions(folder)
        self.open(ID)
        self.start()

    def open(self, session: str) -> None:
        self.sessions.open(
            Session(
                session=session,
                charter=CHARTER,
                study="credit",
                parties={name: key_of(name).public.text for name in PARTIES},
                deadline=datetime.now(UTC) + timedelta(hours=1),
            )
        )

    def start(self) -> None:
        self._loop, started = asyncio.new_event_loop(), threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        assert started.wait(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        async def main() -> None:
            running = server(Service(self.sessions), f"127.0.0.1:{self.port}")
            await running.start()
            started.set()
            await self._stop.wait()
            await running.stop(0)

        self._loop.run_until_complete(main())


class Site:
    """A site's end; `crash` leaves the journal as it is and lets all else go."""

    def __init__(self, relay: RunningRelay, folder: Path, name: str, signer: str = "") -> None:
        self.journal = Journal(folder / name, ID, key_of(name).derive("exchange journal"))
        peers = {peer: key_of(peer).public for peer in PARTIES if peer != name}
        seat = Seat(CHARTER, ID, name, key_of(signer or name), peers)
        self.line = SiteLine(seat, self.journal, patience=10)
        address = f"127.0.0.1:{relay.port}"
        self._connection = Connection(
            self.line, lambda: grpc.aio.insecure_channel(address), Backoff(wait=0.05)
        )
        self._connection.start()

    def crash(self) -> None:
        self._connection.close()
        self.journal.close()


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RunningRelay]:
    made = RunningRelay(tmp_path / "sessions")
    yield made
    made.stop()


def test_batches_go_both_ways_and_through_a_relay_that_is_started_again(
    relay: RunningRelay, tmp_path: Path
) -> None:
    bank, bureau = (Site(relay, tmp_path, name) for name in PARTIES)
    try:
        for number in range(20):
            if number == 10:
                relay.stop()
                relay.start()
            batch = number.to_bytes() * 65_536
            assert bank.line.send("bureau", batch) == batch
            assert bureau.line.receive("bank", 10) == batch
            bureau.line.send("bank", b"%d" % number)
            assert bank.line.receive("bureau", 10) == b"%d" % number
        bank.line.finish(5)
        bureau.line.finish(5)
    finally:
        bank.crash()
        bureau.crash()


def test_a_site_that_crashed_does_again_what_it_did(relay: RunningRelay, tmp_path: Path) -> None:
    bank, bureau = (Site(relay, tmp_path, name) for name in PARTIES)
    try:
        bank.line.send("bureau", b"one")
        assert bureau.line.receive("bank", 5) == b"one"
        bureau.line.checkpoint(b"after one")
        bureau.line.send("bank", b"noise 7")
        assert bank.line.receive("bureau", 5) == b"noise 7"
        bank.line.send("bureau", b"two")
        assert bureau.line.receive("bank", 5) == b"two"
        bureau.crash()
        bank.line.send("bureau", b"three")
        bureau = Site(relay, tmp_path, "bureau")
        assert bureau.line.restored() == b"after one"
        assert bureau.line.send("bank", b"noise 8") == b"noise 7"
        assert bureau.line.receive("bank", 5) == b"two"
        assert bureau.line.receive("bank", 5) == b"three"
        bureau.line.send("bank", b"fresh")
        assert bank.line.receive("bureau", 5) == b"fresh"
    finally:
        bank.crash()
        bureau.crash()


def test_a_peer_that_never_comes_is_named(relay: RunningRelay, tmp_path: Path) -> None:
    bank = Site(relay, tmp_path, "bank")
    try:
        with pytest.raises(
            ExchangeError, match=r"bureau has not answered for 0\.5 s \(it has never"
        ):
            bank.line.receive("bureau", 0.5)
    finally:
        bank.crash()


def test_who_cannot_sign_is_told_why(relay: RunningRelay, tmp_path: Path) -> None:
    thief = Site(relay, tmp_path, "bank", signer="thief")
    try:
        with pytest.raises(ExchangeError, match="the attendance is not signed"):
            thief.line.receive("bureau", 5)
    finally:
        thief.crash()


def test_a_site_without_its_journal_is_found_out(relay: RunningRelay, tmp_path: Path) -> None:
    bank, bureau = (Site(relay, tmp_path, name) for name in PARTIES)
    try:
        bank.line.send("bureau", b"one")
        assert bureau.line.receive("bank", 5) == b"one"
        bureau.crash()
        bureau = Site(relay, tmp_path / "elsewhere", "bureau")
        with pytest.raises(ExchangeError, match="bureau has lost its journal of session abab"):
            bank.line.receive("bureau", 5)
    finally:
        bank.crash()
        bureau.crash()
