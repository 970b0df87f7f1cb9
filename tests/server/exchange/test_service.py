"""Whoever sends to a party that takes nothing has to wait, and the relay's memory does not grow."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from conftest import key_of
from patience import PATIENCE
from server.exchange.test_relay import CHARTER, ID, SESSION

from fedward_server.exchange.service import MAX_QUEUE, SUBJECT_HEADER, Service, server
from fedward_server.exchange.sessions import Sessions
from fedward_shared.exchange.channel import MAX_FRAME
from fedward_shared.exchange.envelopes import Attendance
from fedward_shared.exchange.hops import MAX_HOP, METHOD, Hop

FRAME = Hop("frame", "bureau", bytes(MAX_FRAME))
FRAMES = 4 * MAX_QUEUE // MAX_FRAME
FITTING = MAX_QUEUE // MAX_FRAME
TURNS = 1_000
"""Of the loop, in which all has happened that waits for nobody."""


def attendance(site: str, challenge: bytes) -> Hop:
    made = Attendance(charter=CHARTER, site=site, session=ID, challenge=challenge.hex())
    return Hop("attendance", payload=made.signed(key_of(site)))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    sessions = Sessions(tmp_path / "sessions")
    deadline = datetime.now(UTC) + timedelta(hours=1)
    sessions.open(SESSION.model_copy(update={"deadline": deadline}))
    return Service(sessions)


class Stream:
    """A party's stream as gRPC has it; the party takes nothing until it `takes`."""

    def __init__(self, service: Service, name: str) -> None:
        self.takes = asyncio.Event()
        self.taken: list[Hop] = []
        self.heard = 0
        """How many frames of the party the relay has read."""
        self._name = name
        self._said: asyncio.Queue[Hop] = asyncio.Queue()
        self._task = asyncio.create_task(service.connect(None, self))

    def say(self, *hops: Hop) -> None:
        for hop in hops:
            self._said.put_nowait(hop)

    async def leave(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [(SUBJECT_HEADER, f"CN={self._name}")]

    async def read(self) -> bytes:
        hop = await self._said.get()
        self.heard += hop.kind == "frame"
        return hop.encode()

    async def write(self, data: bytes) -> None:
        hop = Hop.decode(data)
        if hop.kind == "challenge":
            self.say(attendance(self._name, hop.payload))
            return
        await self.takes.wait()
        if hop.kind == "frame":
            self.taken.append(hop)


async def settled() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def met(service: Service) -> tuple[Stream, Stream]:
    """The bank, which has much to say to the bureau, which takes nothing."""
    bank, bureau = Stream(service, "bank"), Stream(service, "bureau")
    bank.takes.set()
    await settled()
    bank.say(*[FRAME] * FRAMES)
    await settled()
    return bank, bureau


def test_who_sends_to_a_party_that_takes_nothing_is_not_read_from(service: Service) -> None:
    async def run() -> None:
        bank, bureau = await met(service)
        # What fits, the one too many, and those that have been taken out of the queue to be written.
        assert FITTING <= bank.heard <= FITTING + 3
        bureau.takes.set()
        await settled()
        assert bank.heard == len(bureau.taken) == FRAMES
        assert {hop.payload for hop in bureau.taken} == {FRAME.payload}
        await bank.leave()
        await bureau.leave()

    asyncio.run(run())


def test_nobody_waits_for_a_party_that_has_left(service: Service) -> None:
    async def run() -> None:
        bank, bureau = await met(service)
        assert bank.heard < FRAMES
        await bureau.leave()
        await settled()
        assert bank.heard == FRAMES
        await bank.leave()

    asyncio.run(run())


def test_a_sender_that_waits_is_not_silent(service: Service, monkeypatch: Any) -> None:
    monkeypatch.setattr("fedward_server.exchange.service.BEAT_SECONDS", 0.01)
    monkeypatch.setattr("fedward_server.exchange.relay.SILENT_SECONDS", 0.1)

    async def run() -> None:
        bank, bureau = await met(service)
        known = service._relay._connections[1]
        before = known.heard
        async with asyncio.timeout(PATIENCE):
            while known.heard < before + 0.2:
                await asyncio.sleep(0.01)
        service.tick()
        assert service._relay.whose(1) == (ID, "bank")
        await bank.leave()
        await bureau.leave()

    asyncio.run(run())


def test_the_senders_own_grpc_is_held_up(service: Service, tmp_path: Path) -> None:
    """By the real server: what it does not read does not pile up in gRPC either."""
    options = [("grpc.max_receive_message_length", MAX_HOP)]
    address = f"unix:{tmp_path}/exchange.sock"

    async def attends(channel: grpc.aio.Channel, name: str) -> Any:
        call = channel.stream_stream(METHOD)()
        challenge = Hop.decode(await call.read())
        await call.write(attendance(name, challenge.payload).encode())
        return call

    async def run() -> None:
        running = server(service, address)
        await running.start()
        async with (
            grpc.aio.insecure_channel(address, options) as one,
            grpc.aio.insecure_channel(address, options) as two,
        ):
            bureau = await attends(one, "bureau")
            bank = await attends(two, "bank")
            assert Hop.decode(await bank.read()) == Hop("here", "bureau")

            async def says() -> None:
                for _ in range(FRAMES):
                    await bank.write(FRAME.encode())

            saying = asyncio.create_task(says())
            await asyncio.wait({saying}, timeout=1)
            assert not saying.done()
            taken = 0
            async with asyncio.timeout(PATIENCE):
                while taken < FRAMES:
                    taken += Hop.decode(await bureau.read()).kind == "frame"
                await saying
        await running.stop(0)

    asyncio.run(run())
