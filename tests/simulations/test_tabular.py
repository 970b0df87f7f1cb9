"""What a study's probabilities are scored by."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fedward_simulations.tabular import scores


def test_of_several_classes_each_is_held_against_all_others():
    drawn = np.random.default_rng(0)
    truth_H = drawn.integers(3, size=60)
    score_HK = drawn.random((60, 3)) + 0.4 * np.eye(3)[truth_H]
    score_HK /= score_HK.sum(axis=1, keepdims=True)
    found = scores(truth_H, score_HK)
    each = [(truth_H == k, score_HK[:, k]) for k in range(3)]
    assert found["auc"] == pytest.approx(np.mean([roc_auc_score(*one) for one in each]))
    assert found["average_precision"] == pytest.approx(
        np.mean([average_precision_score(*one) for one in each])
    )
    assert 0.5 < found["auc"] < 1


def test_of_two_the_second_is_scored():
    truth_H, score_H = np.array([0, 1, 1, 0]), np.array([0.1, 0.4, 0.8, 0.6])
    assert scores(truth_H, score_H)["auc"] == pytest.approx(0.75)
