"""A study whose rounds train a subspace: fewer bytes, nothing moves outside, and masks go with it."""

from dataclasses import replace
from itertools import pairwise

import pytest
from conftest import texts

from fedward_server.observer import Observer
from fedward_shared import sketch as sketches
from fedward_shared import tensors
from fedward_shared.charter_terms import AdapterTerms, SecureAggregationTerms
from fedward_simulations.consortium import Consortium, Outcome, Recipe, World


@pytest.fixture
def three(world: World) -> World:
    sites = {name: texts(12, 100 * n) for n, name in enumerate(("east", "north", "south"))}
    return replace(world, sites=sites)


def run(world: World, recipe: Recipe, name: str, epsilon: float | None = 8.0) -> Outcome:
    return Consortium(world, Observer()).run(name, recipe, epsilon)


def check_moves(outcome: Outcome, all_of_it: bool) -> None:
    """Each round moved its subspace, and nothing else."""
    starts = [outcome.study.adapter_before(number) for number in (1, 2, 3)]
    for number, (before, after) in enumerate(pairwise(starts), start=1):
        sketch = sketches.of(outcome.study.charter, number)
        assert sketch is not None
        masks = sketch.masks(tensors.schema_of(before))
        for name, tensor in after.items():
            moved = tensor != before[name]
            assert bool(moved.any()) or not name.startswith("head.")
            assert not bool((moved & (masks[name] == 0)).any())
            if all_of_it:
                assert bool(moved[masks[name] == 1].all())


@pytest.mark.parametrize("epsilon", [8.0, None])
def test_a_round_moves_its_subspace_and_sends_nothing_else(
    three: World, recipe: Recipe, adapter: AdapterTerms, epsilon: float | None
) -> None:
    sketched = replace(recipe, adapter=adapter.model_copy(update={"sketch": 0.25}))
    whole, part = (run(three, r, n, epsilon) for r, n in ((recipe, "whole"), (sketched, "part")))
    check_moves(part, all_of_it=epsilon is not None)  # by its noise
    sent = [outcome.records[0].bytes_up for outcome in (whole, part)]
    numbers = sum(tensor.numel() for tensor in part.study.adapter.values())
    assert sent[0] - sent[1] == pytest.approx(3 * 4 * 0.75 * numbers, abs=3 * 64)


def test_masks_hide_a_sketch_as_anything_else(
    three: World, recipe: Recipe, adapter: AdapterTerms
) -> None:
    sketched = adapter.model_copy(update={"sketch": 0.25})
    masks = SecureAggregationTerms(precision=16)
    outcome = run(three, replace(recipe, adapter=sketched, masks=masks), "masked")
    assert outcome.study.is_complete
    check_moves(outcome, all_of_it=False)  # by whole steps of the ring
