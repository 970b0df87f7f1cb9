"""Both parties of a study over the real relay, with envelopes and journals; one is killed and back.

What a party draws comes from one secret of the session, so that a program that is run again draws the
same: with another secret number its points would not meet the peer's any more.
"""

import threading
from collections.abc import Iterator

import pytest
import torch
from client.exchange.recorder import recording
from client.exchange.running import PARTIES, RunningRelay, Site
from structlog.testing import capture_logs

from fedward_client.exchange.end import CONFIRM_AFTER
from fedward_client.vertical import checkpoints, party
from fedward_shared.exchange.program import Book, over, together
from fedward_shared.vertical import planning

SESSION = "session"


class Killed(Exception):
    """What a killed process leaves undone."""


class Mortal:
    """A line that ends with its process, at its `last` call; its journal never had over `frames`."""

    def __init__(self, site, last):
        self._line, self._journal, self._last = site.line, site.journal, last
        self.calls = self.frames = 0

    def send(self, peer, message):
        self._live()
        return self._line.send(peer, message)

    def receive(self, peer, timeout):
        self._live()
        return self._line.receive(peer, timeout)

    def checkpoint(self, state):
        self._live()
        [count] = self._journal._db.execute("SELECT count(*) FROM frames").fetchone()
        self.frames = max(self.frames, count)
        self._line.checkpoint(state)

    def _live(self):
        if self.calls == self._last:
            raise Killed
        self.calls += 1


def program(pair, terms, name, state=b""):
    made = (pair.records[name], SESSION, pair.streams(name), map, state)
    return party.active(terms, *made) if name == "bank" else party.passive(terms, name, *made)


def programs(pair, terms):
    return {name: program(pair, terms, name) for name in PARTIES}


@pytest.fixture
def relay(tmp_path) -> Iterator[RunningRelay]:
    made = RunningRelay(tmp_path / "sessions")
    yield made
    made.stop()


def run(relay, folder, pair, terms, deaths):
    """Each party in a thread; one dies at each of its `deaths`, and is started again by its journal.

    What they come to, what they booked, and their lives.
    """
    found, booked, lives = {}, *({name: [] for name in PARTIES} for _ in range(2))
    sites = {name: Site(relay, folder, name) for name in PARTIES}

    def live(name):
        for last in [*deaths.get(name, []), None]:
            line = sites[name].line
            lives[name].append(Mortal(sites[name], last))
            try:
                found[name] = over(
                    program(pair, terms, name, line.restored()),
                    lives[name][-1],
                    lambda number, event: booked[name].append((number, event)),
                    20,
                )
                line.finish(20)
            except Killed:
                sites[name].crash()
                sites[name] = Site(relay, folder, name)

    threads = [threading.Thread(target=live, args=(name,)) for name in PARTIES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for site in sites.values():
        site.crash()
    return found, booked, lives


@pytest.mark.parametrize("who", PARTIES)
@pytest.mark.parametrize("privacy", [None, planning.once(3.0, 1e-5)])
def test_a_party_that_is_killed_and_started_again_changes_nothing(
    relay, tmp_path, pair, who, privacy
):
    terms = pair.with_terms(privacy=privacy)
    undisturbed = together(programs(pair, terms), lambda *_: None)
    deaths = {who: [4, 7] if privacy else [3, 25, 90]}
    found, booked, _ = run(relay, tmp_path, pair, terms, deaths)
    assert torch.equal(found["bank"].probability_H, undisturbed["bank"].probability_H)
    assert (found["bank"].rows == undisturbed["bank"].rows).all()
    # Booked again under the same number, so that a ledger knows it for what it was.
    for events in booked.values():
        by_number = dict(events)
        assert all(by_number[number] == event for number, event in events)


def counting(program, name, calls):
    """The program; counts what it does but for its bookings."""
    action = next(program)
    while True:
        calls[name] += not isinstance(action, Book)
        try:
            action = program.send((yield action))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("who", PARTIES)
@pytest.mark.parametrize("privacy", [None, planning.every_batch(8.0, 1e-5, 8)])
def test_late_in_a_session_little_is_done_again_and_little_is_kept(
    relay, tmp_path, pair, who, privacy, monkeypatch
):
    batches = 4
    monkeypatch.setattr(checkpoints, "CHECKPOINT_RECORDS", batches * 64)
    terms = pair.with_terms(privacy=privacy)
    calls = dict.fromkeys(PARTIES, 0)
    counted = {name: counting(one, name, calls) for name, one in programs(pair, terms).items()}
    undisturbed = together(counted, lambda *_: None)
    found, booked, lives = run(relay, tmp_path, pair, terms, {who: [100, 20]})
    assert torch.equal(found["bank"].probability_H, undisturbed["bank"].probability_H)
    assert [number for number, _ in booked[who]] == [1, 1, 1]
    again = sum(life.calls for life in lives[who]) - calls[who]
    assert 0 < again <= 2 * 2 * batches
    assert all(life.frames <= 2 * (batches + CONFIRM_AFTER) for life in lives[who])


def everything_secret(pair, said):
    """What nobody but its holder may read: identifiers, columns, labels, and what the programs said."""
    for own in pair.records.values():
        yield from own.identifiers
        yield from (row.numpy().tobytes() for row in own.encoded.numbers_NF)
    yield pair.records["bank"].label_N.numpy().tobytes()[:64]
    yield from (body[at : at + 32] for body in said for at in range(0, len(body) - 31, 32))


@pytest.mark.parametrize("privacy", [None, planning.once(3.0, 1e-5)])
def test_who_listens_on_the_wire_or_reads_the_log_learns_nothing(relay, tmp_path, pair, privacy):
    terms, said = pair.with_terms(privacy=privacy), []
    together(programs(pair, terms), lambda *_: None, lambda _, action: said.append(action.body))
    with capture_logs() as log, recording(relay.port) as wire:
        run(wire, tmp_path, pair, terms, {})
        captured = bytes(wire.seen)
    assert len(captured) > sum(len(body) for body in said)
    secrets = list(everything_secret(pair, said))
    assert len(secrets) > 1000
    assert not [secret for secret in secrets if secret in captured]
    # The same search finds them all where they are not sealed.
    clear = b"".join([*said, *pair.records["bank"].identifiers])
    assert sum(secret in clear for secret in secrets) > len(secrets) / 4
    print(*log, sep="\n")
    said_by_relay = [(entry["event"], entry["site"]) for entry in log if "site" in entry]
    assert set(said_by_relay) == {(event, who) for event in ("attends", "left") for who in PARTIES}
    allowed = {
        "event",
        "log_level",
        "session",
        "site",
        "study",
        "frames",
        "bytes",
        "reason",
        "again_in",
    }
    assert {key for entry in log for key in entry} <= allowed
