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

from fedward_client.vertical import party
from fedward_shared.vertical import planning
from fedward_shared.vertical.program import over, together

SESSION = "session"


class Killed(Exception):
    """What a killed process leaves undone."""


class Mortal:
    """A line that ends with its process, at its `last` call."""

    def __init__(self, line, last):
        self._line, self._left = line, last

    def send(self, peer, message):
        self._live()
        return self._line.send(peer, message)

    def receive(self, peer, timeout):
        self._live()
        return self._line.receive(peer, timeout)

    def _live(self):
        self._left -= 1
        if self._left < 0:
            raise Killed


def programs(pair, terms):
    bank, bureau = (pair.records[name] for name in PARTIES)
    return {
        "bank": party.active(terms, bank, SESSION, pair.streams("bank")),
        "bureau": party.passive(terms, "bureau", bureau, SESSION, pair.streams("bureau")),
    }


@pytest.fixture
def relay(tmp_path) -> Iterator[RunningRelay]:
    made = RunningRelay(tmp_path / "sessions")
    yield made
    made.stop()


def run(relay, folder, pair, terms, deaths):
    """Each party in a thread; one dies at each of its `deaths`, and is started again by its journal."""
    found, booked = {}, {name: [] for name in PARTIES}
    sites = {name: Site(relay, folder, name) for name in PARTIES}

    def live(name):
        for last in [*deaths.get(name, []), None]:
            line = sites[name].line
            program = programs(pair, terms)[name]
            try:
                found[name] = over(
                    program,
                    line if last is None else Mortal(line, last),
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
    return found, booked


@pytest.mark.parametrize("who", PARTIES)
@pytest.mark.parametrize("privacy", [None, planning.once(3.0, 1e-5)])
def test_a_party_that_is_killed_and_started_again_changes_nothing(
    relay, tmp_path, pair, who, privacy
):
    terms = pair.with_terms(privacy=privacy)
    undisturbed = together(programs(pair, terms), lambda *_: None)
    deaths = {who: [4, 7] if privacy else [3, 25, 90]}
    found, booked = run(relay, tmp_path, pair, terms, deaths)
    assert torch.equal(found["bank"].probability_H, undisturbed["bank"].probability_H)
    assert (found["bank"].rows == undisturbed["bank"].rows).all()
    # Booked again under the same number, so that a ledger knows it for what it was.
    for events in booked.values():
        by_number = dict(events)
        assert all(by_number[number] == event for number, event in events)


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
