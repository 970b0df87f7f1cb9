"""Labels of more than two classes, and classes that count more than others."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from fedward_client.vertical import once, party
from fedward_client.vertical.every_batch import Whole
from fedward_client.vertical.fitting import gradients
from fedward_shared.exchange.program import together
from fedward_shared.vertical import planning
from fedward_shared.vertical.models import CrossEntropy, begin

RARE = (8.0, 1.0, 1.0)


def run(parties, terms):
    seen, own = [], parties.records
    programs = {
        "bank": party.active(terms, own["bank"], "session", parties.streams("bank")),
        **{
            name: party.passive(terms, name, own[name], "session", parties.streams(name))
            for name in terms.peers
        },
    }
    found = together(
        programs,
        lambda who, event: seen.append((who, "booked", event)),
        lambda who, action: seen.append((who, action.kind, action.body)),
    )
    return found["bank"], seen


def truth(parties, rows):
    return parties.records["bank"].label_N.numpy()[rows]


def recalls(parties, outcome):
    """Of each class, how many of its records held out are taken for it."""
    true_H, best_H = truth(parties, outcome.held_out), outcome.probability_H.argmax(dim=1).numpy()
    return [float((best_H[true_H == number] == number).mean()) for number in range(3)]


@pytest.mark.parametrize("privacy", [None, planning.once(30.0, 1e-5, classes=3)])
def test_three_classes_are_told_apart_by_both_together(graded, privacy):
    outcome, _ = run(graded, graded.with_terms(privacy=privacy, class_weights=RARE))
    assert outcome.probability_H.shape == (120, 3)
    assert torch.allclose(outcome.probability_H.sum(dim=1), torch.ones(120))
    assert len(outcome.held_out) == 120
    assert np.mean(recalls(graded, outcome)) > (0.8 if privacy is None else 0.6)


def test_a_rare_class_that_counts_more_is_found_more_often(graded):
    even, _ = run(graded, graded.terms)
    rare, _ = run(graded, graded.with_terms(class_weights=RARE))
    predicted = [int((o.probability_H.argmax(dim=1) == 0).sum()) for o in (even, rare)]
    assert predicted[1] > predicted[0]
    assert recalls(graded, rare)[0] >= recalls(graded, even)[0]
    assert recalls(graded, rare)[0] > 0.9


@pytest.mark.parametrize(
    "privacy", [planning.once(3.0, 1e-5, classes=3), planning.every_batch(8, 1e-5, 8)]
)
def test_the_same_seed_gives_the_same_messages(graded, privacy):
    terms = graded.with_terms(privacy=privacy, class_weights=RARE)
    assert run(graded, terms)[1] == run(graded, terms)[1]


def test_what_is_booked_is_what_runs_and_nothing_is_counted(graded, monkeypatch):
    privacy = planning.once(3.0, 1e-5, classes=3)
    monkeypatch.setattr(once, "_edges", None)
    _, seen = run(graded, graded.with_terms(privacy=privacy))
    of_bureau = [what for who, what, _ in seen if who == "bureau" and what in ("booked", "cells")]
    assert of_bureau == ["booked", "booked", "cells"]
    events = [event for who, what, event in seen if who == "bureau" and what == "booked"]
    assert events == [privacy.plan(480).event, privacy.scores.event("record")]
    assert [e for who, what, e in seen if who == "bank" and what == "booked"] == [
        privacy.labels(3).event("record")
    ]


def test_labels_are_others_as_often_as_epsilon_says_and_all_others_alike(graded):
    privacy = planning.once(1.0, 1e-5, classes=3)
    outcome, seen = run(graded, graded.with_terms(privacy=privacy))
    [body] = [body for _, what, body in seen if what == "labels"]
    answer_N, true_N = np.frombuffer(body, np.uint8), truth(graded, outcome.training)
    odds = math.exp(privacy.label_epsilon)
    further = np.bincount((answer_N.astype(int) - true_N) % 3, minlength=3)
    expected = np.array([odds, 1, 1]) / (odds + 2) * len(true_N)
    assert stats.chisquare(further, expected).pvalue > 1e-3
    assert further.min() > 0


@pytest.mark.parametrize("weights", [(), RARE])
def test_gradients_of_single_records_carry_the_weights(graded, weights):
    """Held against batches of one and the definition of the loss, weight and all."""
    own, label_B = graded.records["bank"].encoded.rows(torch.arange(6)), torch.arange(6) % 3
    whole = Whole(graded.terms)
    begin(whole, "test")
    drawn = torch.Generator().manual_seed(0)
    others_BE = torch.randn(6, graded.terms.model.embedding, generator=drawn)
    inputs = (others_BE, *own.inputs)
    found = gradients(whole, inputs, label_B, CrossEntropy(weights))
    for row in range(6):
        whole.zero_grad()
        logits_MO = whole(*(part[row : row + 1] for part in inputs))[:, 0]
        members = torch.log_softmax(logits_MO, dim=1)[:, label_B[row]]
        weight = weights[label_B[row]] if weights else 1.0
        (-weight * members.mean()).backward()
        for sample, tensor in zip(found, whole.parameters(), strict=True):
            assert torch.allclose(sample[row], tensor.grad, atol=1e-6)
    assert all(sample.abs().max() > 0 for sample in found)
