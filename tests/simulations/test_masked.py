"""Masked studies through the in-process federation: the sum of the survivors, and nothing besides."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import texts
from flwr.app import Message

from fedward_server.observer import Observer
from fedward_shared import tensors
from fedward_shared.charter import SecureAggregationTerms
from fedward_shared.masked import MaskedTerms
from fedward_shared.messages import Answer, Update, answer_from_record
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.secagg.session import HEADER_BYTES
from fedward_simulations import federation
from fedward_simulations.consortium import Consortium, Outcome, Recipe, World

NAMES = [f"site-{number}" for number in range(1, 9)]
SURVIVING = 6
CHI_SQUARE = 80.0
"""15 degrees of freedom exceed it once in 10^10."""


@pytest.fixture
def eight(world: World) -> World:
    sites = {name: texts(12, 100 * n) for n, name in enumerate(NAMES)}
    return replace(world, sites=sites, dropping=len(NAMES) - SURVIVING)


@pytest.fixture
def masked(recipe: Recipe) -> Recipe:
    return replace(
        recipe,
        training=recipe.training.model_copy(update={"rounds": 1}),
        masks=SecureAggregationTerms(),
        minimum_cohort=SURVIVING,
    )


Seen = list[Answer]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What the coordinator is sent."""
    answers: Seen = []
    real = federation.InProcessGrid._answer

    def answered(grid: federation.InProcessGrid, message: Message) -> Message:
        reply = real(grid, message)
        answers.append(answer_from_record(reply.content))
        return reply

    monkeypatch.setattr(federation.InProcessGrid, "_answer", answered)
    return answers


def run(world: World, recipe: Recipe, sites: int = 8) -> Outcome:
    chosen = dict(list(world.sites.items())[:sites])
    return Consortium(world, Observer()).run("study", recipe, 8.0, chosen)


def uneven(numbers: np.ndarray) -> float:
    """Chi-square of the highest four bits of 16-bit numbers, and of the lowest, the larger of both."""
    found = []
    for shift in (12, 0):
        counts = np.bincount((numbers >> shift) & 15, minlength=16)
        expected = numbers.size / 16
        found.append(float(((counts - expected) ** 2 / expected).sum()))
    return max(found)


def numbers(vectors: Iterable[bytes]) -> list[np.ndarray]:
    return [np.frombuffer(vector[HEADER_BYTES:], dtype="<u2") for vector in vectors]


def test_two_of_eight_drop_out_and_the_six_have_the_adapter_of_an_unmasked_run(
    eight: World, masked: Recipe, seen: Seen, tmp_path: Path
) -> None:
    outcome = run(eight, masked)
    vectors = [answer.update for answer in seen if isinstance(answer, Update)]
    [record] = outcome.records
    assert record.cohort == NAMES[:SURVIVING]
    assert record.dropped == dict.fromkeys(NAMES[SURVIVING:], "training")
    assert record.missing == dict.fromkeys(NAMES[SURVIVING:], "training: not connected")

    del seen[:]
    open_recipe = replace(masked, masks=None)
    plain = run(replace(eight, folder=tmp_path / "plain"), open_recipe, SURVIVING)
    updates = [answer for answer in seen if isinstance(answer, Update)]

    # The same adapter, but for the rounding of six updates to steps of the quantiser, and float32.
    charter, start = outcome.study.charter, tensors.schema_of(outcome.study.adapter)
    terms = MaskedTerms(charter, 1, start)
    for name, tensor in outcome.study.adapter.items():
        step = terms.quantiser(name).step
        distance = float((tensor - plain.study.adapter[name]).abs().max())
        moved = float((plain.study.adapter[name] - plain.study.initial[name]).abs().max())
        assert 0 < distance <= step * (1 + 1e-3)
        assert moved > 10 * step, "a bound that anything meets shows nothing"

    # What the coordinator saw of each site is uniform, and so is the sum of it all until it is revealed.
    assert len(vectors) == SURVIVING
    found = numbers(vectors)
    assert uneven(np.concatenate(found)) < CHI_SQUARE
    total = np.sum(found, axis=0, dtype=np.uint16)
    assert uneven(np.concatenate([total, *(a - b for a, b in zip(found, found[1:]))])) < CHI_SQUARE  # noqa: RUF007
    # The same numbers without masks, and their plain sum, are not.
    encoded = [
        terms.encode(tensors.decode(u.update, u.site), u.site, Randomness.from_seed(0, u.site))
        for u in updates
    ]
    assert uneven(np.concatenate(encoded)) > 10 * CHI_SQUARE
    assert uneven(np.sum(encoded, axis=0, dtype=np.uint16)) > CHI_SQUARE
