"""What a model that was fitted says of other people, and what its parties say for that."""

import numpy as np
import pytest
import torch

from fedward_client.vertical import party, predicting
from fedward_client.vertical.fitting import kept, loaded
from fedward_client.vertical.once import Scorer
from fedward_client.vertical.records import PartyRecords
from fedward_shared.errors import AdapterError
from fedward_shared.exchange.program import together
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.vertical import planning
from fedward_shared.vertical.models import Bottom

SESSION, ASKING = "5e" * 32, "a5" * 32


def fitted(parties, terms):
    """What each party has come to, and the model that it keeps."""
    programs = {
        name: party.active(terms, own, SESSION, parties.streams(name))
        if name == terms.active
        else party.passive(terms, name, own, SESSION, parties.streams(name))
        for name, own in parties.records.items()
    }
    found = together(programs, lambda *_: None)
    modules = {n: f.model if n == terms.active else f.bottom for n, f in found.items()}
    return found, {name: kept(module) for name, module in modules.items()}


def some(own, rows):
    """A question about these rows of the party's file."""
    identifiers = [own.identifiers[row] for row in rows]
    return PartyRecords(identifiers, own.encoded.rows(torch.from_numpy(rows)), None)


def query_labels(parties, query):
    """The labels of those asked about, who are the first of the bank's file."""
    return parties.records["bank"].label_N[: len(query.identifiers)]


def asked(parties, terms, models, query, seed=11):
    """What came of a prediction: the active party's, what was booked, what was sent."""
    booked, sent = [], []

    def streams(name):
        return lambda purpose: Randomness.from_seed(seed, name, purpose)

    programs = {
        name: predicting.active(terms, query, models[name], ASKING, streams(name))
        if name == terms.active
        else predicting.passive(terms, name, own, models[name], ASKING, streams(name))
        for name, own in parties.records.items()
    }
    found = together(
        programs, lambda *one: booked.append(one), lambda who, what: sent.append((who, what))
    )
    return found, booked, sent


def test_without_dp_it_says_what_it_said_of_those_held_out(three):
    terms = three.with_terms(privacy=None)
    found, models = fitted(three, terms)
    held = found["bank"].held_out
    again, booked, _ = asked(three, terms, models, some(three.records["bank"], held))
    predicted = again["bank"]
    assert sorted(predicted.rows) == list(range(len(held)))
    # The order of aligned records is another one in each session.
    expected = found["bank"].probability_H[torch.from_numpy(predicted.rows)]
    torch.testing.assert_close(predicted.probability_N, expected)
    assert [who for who, _ in booked] == ["bureau", "office"]


def test_a_cell_lies_between_the_edges_that_training_let_out(pair):
    privacy = planning.once(20.0, 1e-5)
    terms = pair.with_terms(privacy=privacy)
    _, models = fitted(pair, terms)
    edges = models["bureau"]["edges"]
    assert len(edges) == privacy.cells - 1
    assert bool((edges[1:] >= edges[:-1]).all())
    query = some(pair.records["bank"], np.arange(200))
    found, booked, sent = asked(pair, terms, models, query)
    assert booked == [("bureau", privacy.answer)]
    [cells] = [np.frombuffer(what.body, np.uint8) for _, what in sent if what.kind == "cells"]
    scorer = loaded(Scorer(terms, privacy, "bureau"), models["bureau"])
    place = {one: row for row, one in enumerate(pair.records["bureau"].identifiers)}
    rows = np.array([place[query.identifiers[row]] for row in found["bank"].rows])
    score_N = scorer.scores(pair.records["bureau"].encoded.rows(torch.from_numpy(rows)))[:, 0]
    true_N = np.array([sum(score >= float(edge) for edge in edges) for score in score_N])
    assert np.mean(cells == true_N) == pytest.approx(privacy.scores.truth, abs=0.03)


def test_what_is_sent_for_a_model_of_batches_is_clipped_and_noised(pair):
    privacy = planning.every_batch(8.0, 1e-5, 8, 3)
    terms = pair.with_terms(privacy=privacy, predictions=3)
    _, models = fitted(pair, terms)
    query = some(pair.records["bank"], np.arange(PEOPLE := 300))
    found, booked, sent = asked(pair, terms, models, query)
    assert booked == [("bureau", privacy.answer)]
    assert booked[0][1].steps == 1
    [body] = [what.body for _, what in sent if what.kind == "embeddings"]
    sent_NE = torch.frombuffer(bytearray(body), dtype=torch.float32).view(PEOPLE, -1)
    bottom = loaded(Bottom(terms.table, terms.model.embedding), models["bureau"])
    place = {one: row for row, one in enumerate(pair.records["bureau"].identifiers)}
    rows = torch.tensor([place[query.identifiers[row]] for row in found["bank"].rows])
    with torch.no_grad():
        plain_NE = bottom.of(pair.records["bureau"].encoded.rows(rows))
    length_N1 = plain_NE.norm(dim=1, keepdim=True).clamp(min=privacy.clipping_norm)
    noise_NE = sent_NE - plain_NE * (privacy.clipping_norm / length_N1)
    deviation = 2 * privacy.clipping_norm * privacy.noise_multiplier
    assert float(noise_NE.std()) == pytest.approx(deviation, rel=0.1)


def test_of_more_than_two_classes_each_has_a_probability(graded):
    privacy = planning.once(20.0, 1e-5, classes=3)
    terms = graded.with_terms(privacy=privacy)
    _, models = fitted(graded, terms)
    assert "edges" not in models["bureau"]
    query = some(graded.records["bank"], np.arange(PEOPLE := 200))
    found, _, sent = asked(graded, terms, models, query)
    [cells] = [np.frombuffer(what.body, np.uint8) for _, what in sent if what.kind == "cells"]
    scorer = loaded(Scorer(terms, privacy, "bureau"), models["bureau"])
    place = {one: row for row, one in enumerate(graded.records["bureau"].identifiers)}
    rows = torch.tensor([place[query.identifiers[row]] for row in found["bank"].rows])
    best_N = scorer.scores(graded.records["bureau"].encoded.rows(rows)).argmax(axis=1)
    assert np.mean(cells == best_N) > 0.95
    probability_NK = found["bank"].probability_N
    assert probability_NK.shape == (PEOPLE, 3)
    torch.testing.assert_close(probability_NK.sum(dim=1), torch.ones(PEOPLE))
    truth_N = query_labels(graded, query)[torch.from_numpy(found["bank"].rows)]
    assert float((probability_NK.argmax(dim=1) == truth_N).float().mean()) > 0.7


def test_one_person_can_be_asked_about_and_somebody_whom_nobody_has(pair):
    terms = pair.with_terms(privacy=None)
    _, models = fitted(pair, terms)
    found, _, _ = asked(pair, terms, models, some(pair.records["bank"], np.array([17])))
    assert found["bank"].rows.tolist() == [0]
    assert 0 < float(found["bank"].probability_N[0]) < 1
    stranger = PartyRecords([b"stranger"], some(pair.records["bank"], np.array([1])).encoded, None)
    found, booked, sent = asked(pair, terms, models, stranger)
    assert len(found["bank"].rows) == len(found["bank"].probability_N) == 0
    assert len(found["bureau"]) == 0
    assert len(booked) == 1  # that somebody is not there is an answer, too
    assert not [what for _, what in sent if what.kind == "embeddings"]


def test_that_a_prediction_is_booked_comes_before_any_point(pair):
    terms = pair.with_terms(privacy=None)
    _, models = fitted(pair, terms)
    seen = []
    streams = {name: pair.streams(name) for name in pair.records}
    own, query = pair.records["bureau"], some(pair.records["bank"], np.array([3]))
    programs = {
        "bank": predicting.active(terms, query, models["bank"], ASKING, streams["bank"]),
        "bureau": predicting.passive(
            terms, "bureau", own, models["bureau"], ASKING, streams["bureau"]
        ),
    }
    together(
        programs, lambda who, _: seen.append("booked"), lambda who, what: seen.append(what.kind)
    )
    own_points = [at for at, what in enumerate(seen) if what in ("doubled", "embeddings")]
    assert seen.index("booked") < min(own_points)


def test_tensors_of_another_model_are_refused(pair):
    terms = pair.with_terms(privacy=None)
    _, models = fitted(pair, terms)
    wrong = {**models, "bank": models["bureau"]}
    with pytest.raises(AdapterError, match="the kept model: tensors missing"):
        asked(pair, terms, wrong, some(pair.records["bank"], np.array([1])))
