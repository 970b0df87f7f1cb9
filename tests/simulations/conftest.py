"""A masked study of four sites, of which a round needs three."""

from dataclasses import replace

import pytest
from conftest import texts
from flwr.app import Message
from simulations.masks import FOUR, MINIMUM, Meddle, Meddling, Seen, stage_of

from fedward_shared.charter_terms import SecureAggregationTerms
from fedward_shared.messages import answer_from_record
from fedward_simulations import federation
from fedward_simulations.consortium import Recipe, World


@pytest.fixture
def four(world: World) -> World:
    return replace(world, sites={name: texts(12, 100 * n) for n, name in enumerate(FOUR)})


@pytest.fixture
def masked(recipe: Recipe) -> Recipe:
    training = recipe.training.model_copy(update={"rounds": 1})
    masks = SecureAggregationTerms()
    return replace(recipe, training=training, masks=masks, aggregation={"minimum_cohort": MINIMUM})


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


@pytest.fixture
def meddle(monkeypatch: pytest.MonkeyPatch) -> Meddle:
    """Puts something between the sites and the coordinator."""
    real = federation.InProcessGrid._answer

    def install(meddling: Meddling) -> None:
        before: dict[tuple[str, str], int] = {}

        def answered(grid: federation.InProcessGrid, message: Message) -> Message:
            site, stage = FOUR[message.metadata.dst_node_id - 1], stage_of(message)
            count = before.get((site, stage), 0)
            before[site, stage] = count + 1
            return meddling(site, stage, count, message, lambda sent: real(grid, sent))

        monkeypatch.setattr(federation.InProcessGrid, "_answer", answered)

    return install
