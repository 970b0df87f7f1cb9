"""Both parties of a study, from the first message to the last."""

import math

import numpy as np
import pytest
import torch
from client.vertical.reruns import remembered, replayed
from sklearn.metrics import roc_auc_score

from fedward_client.vertical import party
from fedward_shared.errors import ExchangeError
from fedward_shared.exchange.program import Send, together
from fedward_shared.privacy.plan import UNPROTECTED
from fedward_shared.vertical import planning


def programs(pair, terms):
    return {
        "bank": party.active(terms, pair.records["bank"], "session", pair.streams("bank")),
        **{
            name: party.passive(terms, name, pair.records[name], "session", pair.streams(name))
            for name in terms.peers
        },
    }


def run(pair, terms, changes=None):
    seen = []
    parties = programs(pair, terms)
    for who, change in (changes or {}).items():
        parties[who] = change(parties[who])
    found = together(
        parties,
        lambda who, event: seen.append((who, "booked", event)),
        lambda who, action: seen.append((who, action.kind, action.body)),
    )
    return found, seen


def auc(pair, found):
    outcome = found["bank"]
    truth = pair.records["bank"].label_N.numpy()[outcome.held_out]
    return roc_auc_score(truth, outcome.probability_H.numpy())


def test_together_they_learn_what_neither_knows(pair):
    found, seen = run(pair, pair.terms)
    assert auc(pair, found) > 0.97
    booked = [(party, event) for party, what, event in seen if what == "booked"]
    assert booked == [("bank", UNPROTECTED), ("bureau", UNPROTECTED)]
    outcome = found["bank"]
    assert len(outcome.rows) == 600
    assert len(outcome.held_out) == 120
    assert not set(outcome.held_out) & set(outcome.training)
    assert {kind for _, kind, _ in seen} == {
        "booked",
        "sizes",
        "points",
        "doubled",
        "places",
        "embeddings",
        "gradients",
    }


@pytest.mark.parametrize("privacy", [None, planning.once(20.0, 1e-5)])
def test_a_third_party_knows_something_that_two_do_not(pair, three, privacy):
    if privacy is not None:
        privacy = privacy.model_copy(update={"count_noise": 1.0})
    found, seen = run(three, three.with_terms(privacy=privacy))
    assert auc(three, found) > (0.95 if privacy is None else 0.85)
    people = {who: three.records[who].identifiers for who in three.records}
    aligned = {who: [people[who][row] for row in found[who].rows] for who in people}
    assert aligned["bank"] == aligned["bureau"] == aligned["office"]
    alone = [np.frombuffer(b, np.uint8) for who, kind, b in seen if kind == "cells"]
    assert len(alone) == (0 if privacy is None else 2)


@pytest.mark.parametrize(
    "privacy", [None, planning.once(3.0, 1e-5), planning.every_batch(8, 1e-5, 8)]
)
def test_the_same_seed_gives_the_same_messages(pair, privacy):
    terms = pair.with_terms(privacy=privacy)
    assert run(pair, terms)[1] == run(pair, terms)[1]


def test_one_answer_for_each_record_is_enough_where_epsilon_is_large(pair):
    privacy = planning.once(20.0, 1e-5).model_copy(update={"count_noise": 1.0})
    terms = pair.with_terms(privacy=privacy)  # 600 records are few for counts under noise
    found, seen = run(pair, terms)
    assert auc(pair, found) > 0.9
    sent = {kind: body for _, kind, body in seen}
    assert len(sent["labels"]) == 480
    assert len(sent["cells"]) == 600
    # About as many in each cell, however narrow the scores lie together.
    counts = np.bincount(np.frombuffer(sent["cells"], np.uint8), minlength=terms.privacy.cells)
    assert counts.max() < 3 * len(sent["cells"]) / terms.privacy.cells
    assert (counts > 0).sum() > terms.privacy.cells / 2


def test_labels_and_cells_are_answers_that_may_be_others(pair):
    terms = pair.with_terms(privacy=planning.once(1.0, 1e-5))
    found, seen = run(pair, terms)
    sent = {kind: body for _, kind, body in seen}
    truth = pair.records["bank"].label_N.numpy()[found["bank"].training]
    kept = (np.frombuffer(sent["labels"], np.uint8) == truth).mean()
    assert kept == pytest.approx(1 / (1 + math.exp(-0.999)), abs=0.06)


def test_what_is_let_out_was_booked_before(pair):
    privacy = planning.once(3.0, 1e-5)
    _, seen = run(pair, pair.with_terms(privacy=privacy))
    of_bank = [what for who, what, _ in seen if who == "bank" and what in ("booked", "labels")]
    assert of_bank == ["booked", "labels"]
    of_bureau = [what for who, what, _ in seen if who == "bureau" and what in ("booked", "cells")]
    assert of_bureau == ["booked"] * 3 + ["cells"]
    events = [event for who, what, event in seen if who == "bureau" and what == "booked"]
    assert events == list(privacy.passive_events(480))


def test_an_exchange_is_booked_by_both_before_it_begins(pair):
    privacy = planning.every_batch(8.0, 1e-5, 8)
    _, seen = run(pair, pair.with_terms(privacy=privacy))
    for who, kind in (("bank", "gradients"), ("bureau", "embeddings")):
        own = [what for name, what, _ in seen if name == who and what in ("booked", kind)]
        assert own[0] == "booked"
        assert own.count("booked") == 1
    booked = {event for _, what, event in seen if what == "booked"}
    assert booked == {privacy.event(8)}


def test_what_is_exchanged_under_dp_has_the_noise_that_is_booked(pair):
    privacy = planning.every_batch(8.0, 1e-5, 8)
    found, seen = run(pair, pair.with_terms(privacy=privacy))
    del found
    deviation = 2 * privacy.clipping_norm * privacy.noise_multiplier
    for kind in ("embeddings", "gradients"):
        bodies = [np.frombuffer(body, "<f4") for _, what, body in seen if what == kind]
        spread = np.concatenate(bodies).std()
        # Each row is clipped to C in 8 numbers, noised by much more.
        assert deviation < spread < math.hypot(deviation, privacy.clipping_norm)


def altered(kind, number, body):
    """A program of which one message is another."""

    def change(program):
        sent, action = 0, next(program)
        while True:
            if isinstance(action, Send) and action.kind == kind:
                sent += 1
                if sent == number:
                    action = Send(action.peer, kind, body(action.body))
            try:
                action = program.send((yield action))
            except StopIteration as end:
                return end.value

    return change


@pytest.mark.parametrize(("who", "kind"), [("bureau", "embeddings"), ("bank", "gradients")])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(pair, who, kind, number):
    wrong = np.float32(number).tobytes()
    change = altered(kind, 2, lambda body: wrong + body[4:])
    with pytest.raises(ExchangeError, match=f"{who} has sent {kind} that hold NaN or infinity"):
        run(pair, pair.terms, {who: change})


@pytest.mark.parametrize(("who", "kind"), [("bureau", "embeddings"), ("bank", "gradients")])
@pytest.mark.parametrize(
    "body", [lambda body: body + bytes(4), lambda body: body[:-32], lambda _: b""]
)
def test_another_width_or_number_of_rows_is_refused(pair, who, kind, body):
    with pytest.raises(ExchangeError, match="are due"):
        run(pair, pair.terms, {who: altered(kind, 1, body)})


@pytest.mark.parametrize(("who", "kind"), [("bureau", "cells"), ("bank", "labels")])
def test_answers_that_nobody_can_give_are_refused(pair, who, kind):
    terms = pair.with_terms(privacy=planning.once(3.0, 1e-5))
    change = altered(kind, 1, lambda body: b"\xff" + body[1:])
    with pytest.raises(ExchangeError, match=f"{who} has answered 255"):
        run(pair, terms, {who: change})


def test_a_refused_booking_lets_nothing_out(pair):
    terms = pair.with_terms(privacy=planning.once(3.0, 1e-5))
    sent = []

    def refuse(who, event):
        raise ExchangeError(f"{who} may not book {event.mechanism}")

    with pytest.raises(ExchangeError, match="bank may not book"):
        together(programs(pair, terms), refuse, lambda _, action: sent.append(action.kind))
    assert "labels" not in sent
    assert "cells" not in sent


def test_a_program_that_is_run_again_with_what_came_sends_the_same(pair):
    """What a party that crashed rests on: it is where it was after hearing the same again."""
    terms = pair.with_terms(privacy=planning.once(3.0, 1e-5))
    first, heard = programs(pair, terms), []
    first["bureau"] = remembered(first["bureau"], heard)
    found = together(first, lambda *_: None)["bureau"]
    again = replayed(programs(pair, terms)["bureau"], heard)
    assert np.array_equal(again.rows, found.rows)


def test_the_first_layer_over_all_columns_is_the_sum_of_the_parties(pair):
    """Nothing is lost by the cut: gradients of the halves are those of the whole."""
    from fedward_shared.vertical.models import Bottom

    one, other = Bottom(pair.terms.table, 8), Bottom(pair.terms.table, 8)
    own, theirs = pair.records["bank"].encoded, pair.records["bureau"].encoded
    joined = torch.cat([own.numbers_NF, theirs.numbers_NF], dim=1)
    numbers = [bottom.layer.numbers for bottom in (one, other)]
    weight = torch.cat([layer.weight for layer in numbers], dim=1)
    whole = joined @ weight.T + numbers[0].bias + numbers[1].bias
    assert torch.allclose(one.of(own) + other.of(theirs), whole, atol=1e-5)
