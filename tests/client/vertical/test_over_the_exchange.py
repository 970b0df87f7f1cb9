"""Both parties of a study over the real relay, with envelopes and journals; one is killed and back.

What a party draws comes from one secret of the session, so that a program that is run again draws the
same: with another secret number its points would not meet the peer's any more.
"""

import threading
from collections.abc import Iterator

import pytest
import torch
from client.exchange.running import PARTIES, RunningRelay, Site

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


def programs(pair, terms, streams):
    return {
        "bank": party.active(terms, pair.records["bank"], SESSION, streams("bank")),
        "bureau": party.passive(
            terms, "bureau", pair.records["bureau"], SESSION, streams("bureau")
        ),
    }


@pytest.fixture
def relay(tmp_path) -> Iterator[RunningRelay]:
    made = RunningRelay(tmp_path / "sessions")
    yield made
    made.stop()


def run(relay, folder, pair, terms, deaths, streams):
    """Each party in a thread; one dies at each of its `deaths`, and is started again by its journal."""
    found, booked = {}, {name: [] for name in PARTIES}
    sites = {name: Site(relay, folder, name) for name in PARTIES}

    def live(name):
        for last in [*deaths.get(name, []), None]:
            line = sites[name].line
            program = programs(pair, terms, streams)[name]
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
    undisturbed = together(programs(pair, terms, pair.streams), lambda *_: None)
    deaths = {who: [4, 7] if privacy else [3, 25, 90]}
    found, booked = run(relay, tmp_path, pair, terms, deaths, pair.streams)
    assert torch.equal(found["bank"].probability_H, undisturbed["bank"].probability_H)
    assert (found["bank"].rows == undisturbed["bank"].rows).all()
    # Booked again under the same number, so that a ledger knows it for what it was.
    for events in booked.values():
        by_number = dict(events)
        assert all(by_number[number] == event for number, event in events)
