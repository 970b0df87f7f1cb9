"""Sampling and noise come from one key stream."""

import torch

from fedward_shared.privacy.randomness import Randomness

GOLDEN = [0.856436055135, 0.776264965874, 0.949622578992]


def test_a_seed_gives_these_numbers_on_every_machine() -> None:
    assert [round(x, 12) for x in Randomness.from_seed(7, "north").uniform(3)] == GOLDEN


def test_labels_and_seeds_have_streams_of_their_own() -> None:
    streams = [
        tuple(Randomness.from_seed(seed, *labels).uniform(4))
        for seed, labels in ((0, ("a",)), (1, ("a",)), (0, ("b",)), (0, ("a", "b")), (0, ("ab",)))
    ]
    assert len(set(streams)) == len(streams)


def test_the_operating_system_gives_another_stream_each_time() -> None:
    assert tuple(Randomness.from_os().uniform(4)) != tuple(Randomness.from_os().uniform(4))


def test_normal_numbers_have_the_moments_of_a_normal_distribution() -> None:
    draws = Randomness.from_seed(1, "normal").normal((400, 500)).double()
    assert abs(draws.mean()) < 0.01
    assert abs(draws.var() - 1) < 0.015
    assert abs((draws**4).mean() - 3) < 0.1
    assert abs(torch.corrcoef(draws[:2])[0, 1]) < 0.15
