"""Two sites and the real relay on loopback: what is sent arrives, also after a crash."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client.exchange.running import ID, PARTIES, RunningRelay, Site
from patience import PATIENCE

from fedward_shared.errors import ExchangeError


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
            assert bureau.line.receive("bank", PATIENCE) == batch
            bureau.line.send("bank", b"%d" % number)
            assert bank.line.receive("bureau", PATIENCE) == b"%d" % number
        bank.line.finish(PATIENCE)
        bureau.line.finish(PATIENCE)
    finally:
        bank.crash()
        bureau.crash()


def test_a_site_that_crashed_does_again_what_it_did(relay: RunningRelay, tmp_path: Path) -> None:
    bank, bureau = (Site(relay, tmp_path, name) for name in PARTIES)
    try:
        bank.line.send("bureau", b"one")
        assert bureau.line.receive("bank", PATIENCE) == b"one"
        bureau.line.checkpoint(b"after one")
        bureau.line.send("bank", b"noise 7")
        assert bank.line.receive("bureau", PATIENCE) == b"noise 7"
        bank.line.send("bureau", b"two")
        assert bureau.line.receive("bank", PATIENCE) == b"two"
        bureau.crash()
        bank.line.send("bureau", b"three")
        bureau = Site(relay, tmp_path, "bureau")
        assert bureau.line.restored() == b"after one"
        assert bureau.line.send("bank", b"noise 8") == b"noise 7"
        assert bureau.line.receive("bank", PATIENCE) == b"two"
        assert bureau.line.receive("bank", PATIENCE) == b"three"
        bureau.line.send("bank", b"fresh")
        assert bank.line.receive("bureau", PATIENCE) == b"fresh"
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
            thief.line.receive("bureau", PATIENCE)
    finally:
        thief.crash()


def test_a_site_without_its_journal_is_found_out(relay: RunningRelay, tmp_path: Path) -> None:
    bank, bureau = (Site(relay, tmp_path, name) for name in PARTIES)
    try:
        bank.line.send("bureau", b"one")
        assert bureau.line.receive("bank", PATIENCE) == b"one"
        bureau.crash()
        bureau = Site(relay, tmp_path / "elsewhere", "bureau")
        with pytest.raises(ExchangeError, match="bureau has lost its journal of session abab"):
            bank.line.receive("bureau", PATIENCE)
    finally:
        bank.crash()
        bureau.crash()


def test_who_has_finished_is_not_missed(relay: RunningRelay, tmp_path: Path) -> None:
    relay.open(ID, patience=1.0)
    bank, bureau = (Site(relay, tmp_path, name) for name in PARTIES)
    try:
        bureau.line.send("bank", b"all that I have")
        assert bank.line.receive("bureau", PATIENCE) == b"all that I have"
        bureau.line.finish(PATIENCE)
        bureau.crash()
        time.sleep(1.5)
        assert bank.line.failure is None
        bank.line.finish(PATIENCE)
    finally:
        bank.crash()


def test_who_leaves_without_having_finished_is_missed(relay: RunningRelay, tmp_path: Path) -> None:
    relay.open(ID, patience=1.0)
    bank, bureau = (Site(relay, tmp_path, name) for name in PARTIES)
    try:
        bureau.line.send("bank", b"a part")
        assert bank.line.receive("bureau", PATIENCE) == b"a part"
        bureau.crash()
        with pytest.raises(ExchangeError, match="bureau: nothing was heard for too long"):
            bank.line.receive("bureau", PATIENCE)
    finally:
        bank.crash()
