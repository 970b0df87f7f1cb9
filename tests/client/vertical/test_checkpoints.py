"""From any checkpoint a program does what it did, to the same end, bit for bit."""

import pytest
import torch
from client.vertical.reruns import remembered, replayed

from fedward_client.vertical import checkpoints, party
from fedward_client.vertical.checkpoints import Progress
from fedward_shared import tensors
from fedward_shared.exchange.program import Book, Checkpoint, together
from fedward_shared.vertical import planning

MODES = {
    "without DP": None,
    "once": planning.once(3.0, 1e-5),
    "every batch": planning.every_batch(8.0, 1e-5, 8),
}


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Every third batch: not at the end of an epoch, of which each has eight."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_RECORDS", 3 * 64)


def program(pair, terms, name, state=b""):
    made = (pair.records[name], "session", pair.streams(name), map, state)
    return party.active(terms, *made) if name == "bank" else party.passive(terms, name, *made)


def result(found):
    module = found.model if hasattr(found, "model") else found.bottom
    said = dict(module.named_parameters()) | {"rows": torch.from_numpy(found.rows)}
    return tensors.encode(said | {"p": getattr(found, "probability_H", torch.zeros(0))})


@pytest.mark.parametrize("mode", MODES)
def test_a_program_goes_on_from_any_of_its_checkpoints(pair, mode):
    terms = pair.with_terms(privacy=MODES[mode])
    heard = {name: [] for name in pair.records}
    programs = {name: remembered(program(pair, terms, name), said) for name, said in heard.items()}
    found = together(programs, lambda *_: None)
    for name, said in heard.items():
        kept = [n for n, (action, _) in enumerate(said) if isinstance(action, Checkpoint)]
        assert len(kept) == (1 if mode == "once" else 1 + 64 // 3)
        books = [(action, answer) for action, answer in said if isinstance(action, Book)]
        for place in sorted({kept[0], *kept[1::9], kept[-1]}):
            since = said[place + 1 :]
            if place != kept[0]:  # what it booked before it books again
                since = books + since
            again = replayed(program(pair, terms, name, said[place][0].state), since)
            assert result(again) == result(found[name])


def test_a_checkpoint_is_due_by_records_and_not_by_batches(pair):
    progress = Progress(b"")

    class Taken:
        def __init__(self, taken):
            self.taken = taken

        def state_dict(self):
            return {}

    def kept(batch):
        return [n for n in range(1, 9) if list(progress.after_step(batch, Taken(n)))]

    assert kept(64) == [3, 6]
    assert kept(100_000) == [1, 2, 3, 4, 5, 6, 7, 8]
