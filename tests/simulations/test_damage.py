"""Damage: drawn from a seed, and of its kind."""

import numpy as np
import pytest

from fedward_simulations.data import damage, foreign

TEXT = (
    "The patient was admitted with chest pain in the morning. He was given aspirin and oxygen, and "
    "the pain was gone after an hour."
)


def done(kind: str, seed: int = 0) -> str:
    return damage.KINDS[kind](TEXT, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", damage.KINDS)
def test_a_seed_gives_one_damage(kind: str) -> None:
    assert done(kind) == done(kind) != TEXT
    assert len({done(kind, seed) for seed in range(8)}) > 1


@pytest.mark.parametrize("kind", damage.KINDS)
@pytest.mark.parametrize("text", ["", "a", "pain", "??"])
def test_a_text_with_little_to_damage_is_no_error(kind: str, text: str) -> None:
    assert isinstance(damage.KINDS[kind](text, np.random.default_rng(0)), str)


def test_each_kind_does_what_it_says() -> None:
    assert sorted(done("shuffled").split()) == sorted(TEXT.split())
    assert TEXT.startswith(done("truncated"))
    assert TEXT[len(done("truncated"))].isalnum()
    assert any(sentence in done("language") for s in foreign.SENTENCES.values() for sentence in s)
    assert len(done("repeated").split()) > len(set(done("repeated").split()))
    assert not set(done("language").split()) & set(TEXT.split())
