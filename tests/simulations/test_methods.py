"""Every adapter method through the deployed apps: the messages, the ledgers, the checkpoints."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

import pytest
import torch
from conftest import adapter_terms

from fedward_client.site import Site
from fedward_server.observer import Observer
from fedward_server.studies import Study
from fedward_shared import names, tensors
from fedward_shared.charter_terms import SecureAggregationTerms
from fedward_shared.names import METHODS
from fedward_shared.report import RoundRecord
from fedward_simulations.consortium import Consortium, Outcome, Recipe, World

RANKS = {"south": 1}


class PullsThePlug(Observer):
    def round_closed(self, record: RoundRecord) -> None:
        raise KeyboardInterrupt


def recipe_of(recipe: Recipe, method: str, **training: object) -> Recipe:
    return replace(
        recipe,
        adapter=adapter_terms(method),
        training=recipe.training.model_copy(update={"rounds": 3, "head_rounds": 1, **training}),
        ranks=RANKS if METHODS[method].mixed_ranks else {},
        server_optimizer="fedavgm",
        server_momentum=0.5,
    )


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_study_that_was_cut_off_goes_on_and_ends_with_the_same_bytes(
    method: str, world: World, recipe: Recipe
) -> None:
    wanted = recipe_of(recipe, method)
    whole = Consortium(world, Observer()).run("study", wanted, 8.0)
    cut = replace(world, folder=world.folder.with_name("cut"))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            Consortium(cut, PullsThePlug()).run("study", wanted, 8.0)
    resumed = Consortium(cut, Observer()).run("study", wanted, 8.0)
    assert tensors.digest(resumed.study.adapter) == tensors.digest(whole.study.adapter)
    assert len(resumed.records) == 3
    moved = {n for n, t in whole.study.adapter.items() if not torch.equal(t, first(whole)[n])}
    assert moved == set(whole.study.adapter)


def first(outcome: Outcome) -> Mapping[str, torch.Tensor]:
    """What the first round handed out."""
    return first_of(outcome.study)


def first_of(study: Study) -> Mapping[str, torch.Tensor]:
    """The same of a study."""
    initial = study.initial
    schema = study.charter.handed_out(tensors.schema_of(initial))
    return {name: initial.get(name, torch.zeros(shape)) for name, shape in schema.items()}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_round_sends_more_than_what_trains_in_it(
    method: str, world: World, recipe: Recipe
) -> None:
    outcome = Consortium(world, Observer()).run("study", recipe_of(recipe, method), 8.0)
    charter, initial = outcome.study.charter, tensors.schema_of(outcome.study.initial)
    for path in outcome.sites:
        with closing(Site.open(path)) as site:
            cleared = [e.details for e in site.audit.entries if e.event == "cleared"]
            name = site.name
        for number, entry in enumerate(cleared, start=1):
            schema = charter.sent(initial, name, number)
            empty = {n: torch.zeros(shape) for n, shape in schema.items()}
            assert int(entry["bytes"]) == len(tensors.encode(empty))
    parts = [{names.part_of(n) for n in charter.sent(initial, "north", k)} for k in (1, 2, 3)]
    turns = METHODS[method].trains
    assert parts == [{"head"}, {"head", *turns[0]}, {"head", *turns[-1]}]


def test_fedsvd_is_ffa_lora_where_coordinates_do_not_matter(world: World, recipe: Recipe) -> None:
    """Plain SGD and a mean see the product alone, which the turn leaves as it is; the fold's grid does
    not turn with it."""
    found = {}
    for method in ("ffa-lora", "fedsvd"):
        wanted = recipe_of(recipe, method, learning_rate=5.0)
        outcome = Consortium(world, Observer()).run(method, wanted, None)
        values = outcome.study.initial | outcome.study.adapter
        found[method] = {
            a: values[a.replace(names.A_MARK, names.B_MARK)] @ values[a]
            for a in values
            if names.A_MARK in a
        }
    for name, product in found["ffa-lora"].items():
        assert float((found["fedsvd"][name] - product).norm()) < 0.02 * float(product.norm())


def test_held_to_the_start_sites_change_less(world: World, recipe: Recipe) -> None:
    changes = {}
    for strength in (0.0, 1.0):
        wanted = recipe_of(
            recipe, "lora", proximal=strength, local_steps=6, rounds=1, head_rounds=0
        )
        outcome = Consortium(world, Observer()).run(f"prox-{strength:g}", wanted, None)
        start = first(outcome)
        changes[strength] = tensors.norm(
            {name: tensor - start[name] for name, tensor in outcome.study.adapter.items()}
        )
    assert changes[1.0] < 0.9 * changes[0.0]


@pytest.mark.parametrize("method", ["rolora", "fedsvd", "prefix-tuning"])
def test_under_masks_a_method_gives_what_it_gives_without(
    method: str, four: World, recipe: Recipe
) -> None:
    """Three rounds, of the head alone and of each turn of the adapters, but for the quantiser's steps.
    Of the methods that masks suffer, those in which a round's start is not the sum of updates alone.
    """
    wanted = replace(recipe_of(recipe, method), server_optimizer="fedavg", server_momentum=0.0)
    masks = SecureAggregationTerms(precision=20)
    plain, masked = (
        Consortium(four, Observer()).run(name, replace(wanted, masks=terms), 8.0).study
        for name, terms in (("plain", None), ("masked", masks))
    )
    assert masked.charter.secure_aggregation == masks
    moved = tensors.norm({n: t - first_of(plain)[n] for n, t in plain.adapter.items()})
    apart = tensors.norm({n: t - plain.adapter[n] for n, t in masked.adapter.items()})
    assert apart < 0.02 * moved
