"""Whole studies through the in-process federation: the deployed apps, real bytes, real ledgers."""

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from conftest import texts
from flwr.app import Message
from flwr.clientapp import ClientApp
from torch import nn

from fedward_client.site import Site
from fedward_server import asking
from fedward_server.observer import Observer
from fedward_server.studies import Study
from fedward_shared import adapters, records, tensors
from fedward_shared.errors import CohortError, RefusalCode, StateError
from fedward_shared.messages import TRAIN, Refusal
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_shared.report import RoundRecord
from fedward_simulations import federation
from fedward_simulations.consortium import Consortium, Outcome, Recipe, World


def run(world: World, recipe: Recipe, epsilon: float | None = 8.0, name: str = "study") -> Outcome:
    return Consortium(world, Observer()).run(name, recipe, epsilon)


def digest(outcome: Outcome) -> str:
    return tensors.digest(outcome.study.adapter)


def test_a_seed_gives_one_adapter_in_whatever_order_sites_answer(
    world: World, recipe: Recipe, tmp_path: Path
) -> None:
    first = run(world, recipe)
    turned = replace(world, folder=tmp_path / "turned", seed=world.seed)
    coordinator, settings = Consortium(turned, Observer()).prepare("study", recipe, 8.0)
    federation.run(coordinator, list(reversed(settings)), world.seed, Observer(), "in-process")
    study = Study(coordinator)
    study.read()
    assert tensors.digest(study.adapter) == digest(first)
    other = run(replace(world, folder=tmp_path / "other", seed=1), recipe)
    assert digest(other) != digest(first)


def test_a_study_that_was_cut_off_ends_with_the_same_adapter(
    world: World, recipe: Recipe, tmp_path: Path
) -> None:
    class PullsThePlug(Observer):
        def round_closed(self, record: RoundRecord) -> None:
            raise KeyboardInterrupt

    whole = run(world, recipe)
    cut = replace(world, folder=tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        Consortium(cut, PullsThePlug()).run("study", recipe, 8.0)
    resumed = run(cut, recipe)
    assert digest(resumed) == digest(whole)
    assert len(resumed.records) == 2


def test_a_damaged_checkpoint_is_refused_and_left_alone(world: World, recipe: Recipe) -> None:
    outcome = run(world, recipe)
    path = outcome.study.folder / "rounds" / "0002.safetensors"
    damaged = path.read_bytes()[:-1] + b"\x00"
    path.write_bytes(damaged)
    with pytest.raises(StateError, match=r"0002\.safetensors"):
        Study(outcome.study.folder).read()
    assert path.read_bytes() == damaged
    (outcome.study.folder / "rounds" / "0001.json").unlink()
    with pytest.raises(StateError, match=r"0001\.json"):
        Study(outcome.study.folder).read()


def test_too_few_sites_end_the_study_and_it_says_so(world: World, recipe: Recipe) -> None:
    coordinator, settings = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    data = settings[0].parent / "records.jsonl"
    records.write_jsonl(data, {"text": ["a", "b"], "label": ["bone", "bone"]})
    with pytest.raises(CohortError, match="north: refused: data"):
        federation.run(coordinator, settings, 0, Observer(), "in-process")
    assert json.loads((coordinator / "outcome.json").read_text())["exit_code"] == 9


@pytest.mark.parametrize(
    "content",
    [
        {"text": ["a", "b"], "label": ["bone", "bone"]},
        {"text": ["a", "b"], "label": ["bone", "liver"]},
        {"words": ["a", "b"], "label": ["bone", "heart"]},
    ],
)
def test_whatever_is_wrong_with_the_data_one_word_leaves(
    world: World, recipe: Recipe, content: dict[str, list[str]]
) -> None:
    coordinator, settings = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    records.write_jsonl(settings[0].parent / "records.jsonl", content)
    with pytest.raises(CohortError) as caught:
        federation.run(coordinator, settings, 0, Observer(), "in-process")
    assert "(north: refused: data)" in str(caught.value)


def test_the_booking_is_on_disk_before_the_data_is_opened(
    world: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, settings = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    real = records.read_bytes
    seen = []

    def watched(path: Path) -> bytes:
        if path.name == "records.jsonl":
            site = Site.open(path.parent / "site.toml")
            seen.append(site.ledger.spending("records").bookings)
            site.close()
        return real(path)

    monkeypatch.setattr(records, "read_bytes", watched)
    federation.run(coordinator, settings, 0, Observer(), "in-process")
    assert seen == [1, 1, 2, 2]


def test_patients_are_protected_from_the_file_to_the_ledger(world: World, recipe: Recipe) -> None:
    owners = [f"p{i // 3}" for i in range(24)]
    sites = {name: {**texts(24, 100 * n), "owner": owners} for n, name in enumerate(world.sites)}
    outcome = run(replace(world, sites=sites), replace(recipe, unit="patient"))
    charter = outcome.study.charter
    assert {participant.records for participant in charter.participants} == {8}
    assert outcome.study.is_complete
    for path in outcome.sites:
        with closing(Site.open(path)) as site:
            events = [Event.from_text(booking.event) for booking in site.ledger.bookings()]
            spent = site.ledger.spending("records").epsilon
        assert [event.unit for event in events] == ["patient"] * 2
        assert spent == accountant.epsilon(charter.schedule, world.delta)


def test_a_used_up_budget_refuses_before_the_data_is_opened(
    world: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, settings = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    for path in settings:
        path.write_text(path.read_text().replace("epsilon = 8.0", "epsilon = 0.01"))
    real = records.read_bytes
    opened = []
    monkeypatch.setattr(records, "read_bytes", lambda p: opened.append(p.name) or real(p))
    with pytest.raises(CohortError, match="refused: budget"):
        federation.run(coordinator, settings, 0, Observer(), "in-process")
    assert "records.jsonl" not in opened


def test_a_charter_that_was_not_approved_does_not_run(world: World, recipe: Recipe) -> None:
    coordinator, settings = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    for path in (settings[0].parent / "state" / "charters").glob("*/charter.json"):
        path.unlink()
    with pytest.raises(CohortError, match="north: refused: charter"):
        federation.run(coordinator, settings, 0, Observer(), "in-process")


def test_without_dp_only_where_the_site_says_so_too(world: World, recipe: Recipe) -> None:
    coordinator, settings = Consortium(world, Observer()).prepare("study", recipe, None)
    settings[0].write_text(
        "\n".join(line for line in settings[0].read_text().splitlines() if "without_dp" not in line)
    )
    with pytest.raises(CohortError, match="north: refused: privacy"):
        federation.run(coordinator, settings, 0, Observer(), "in-process")


def test_the_initial_tensors_are_made_with_the_threads_of_the_world(
    world: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = adapters.initial

    def watched(body: nn.Module, seed: int) -> tensors.Tensors:
        seen.append(torch.get_num_threads())
        return real(body, seed)

    monkeypatch.setattr(adapters, "initial", watched)
    torch.set_num_threads(2)
    Consortium(world, Observer()).prepare("study", recipe, 8.0)
    assert seen == [world.threads] == [1]


def test_a_site_whose_ledger_is_lost_is_named_and_not_waited_for(
    world: World, recipe: Recipe
) -> None:
    coordinator, settings = Consortium(world, Observer()).prepare("study", recipe, 8.0)
    (settings[0].parent / "state" / "ledger.sqlite").unlink()
    with pytest.raises(CohortError, match="north: refused: state"):  # gather_seconds is 600
        federation.run(coordinator, settings, 0, Observer(), "in-process")


def test_flowers_own_engine_gives_the_same_adapter_bit_for_bit(
    world: World, recipe: Recipe, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    ours = run(world, recipe)
    flowers = run(replace(world, folder=tmp_path / "ray", engine="flower"), recipe)
    assert digest(flowers) == digest(ours)
    assert [p for p in psutil.Process().children(recursive=True) if "ray" in p.name()] == []


class LosesAMessage(federation.InProcessGrid):
    """The first training message to the first node is gone, and the node for a while with it."""

    def __init__(self, nodes: Mapping[int, ClientApp], answer_first: bool) -> None:
        super().__init__(nodes)
        self.answer_first = answer_first
        self.away = -1
        """How often more the node is not listed; -1 before it has died."""

    def get_node_ids(self) -> Iterable[int]:
        if self.away > 0:
            self.away -= 1
            return [node for node in super().get_node_ids() if node != 1]
        return super().get_node_ids()

    def _answer(self, message: Message) -> Message:
        if message.metadata.dst_node_id != 1 or message.metadata.message_type != TRAIN:
            return super()._answer(message)
        if self.away == -1:
            self.away = 3
            if self.answer_first:
                super()._answer(message)  # trained, but the reply never leaves
            raise LookupError
        return super()._answer(message)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        try:
            return super().pull_messages(message_ids)
        except LookupError:
            return []


@pytest.mark.parametrize("answer_first", [False, True])
def test_a_site_that_lost_its_message_is_asked_again_when_it_is_back(
    world: World,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    answer_first: bool,
    tmp_path: Path,
) -> None:
    whole = run(replace(world, folder=tmp_path / "whole"), recipe)
    monkeypatch.setattr(
        federation, "InProcessGrid", lambda nodes: LosesAMessage(nodes, answer_first)
    )
    outcome = run(world, recipe)
    assert [record.cohort for record in outcome.records] == [["north", "south"]] * 2
    assert digest(outcome) == digest(whole)
    for path in outcome.sites:
        site = Site.open(path)
        assert site.ledger.spending("records").bookings == 2
        site.close()


class SaysLater(federation.InProcessGrid):
    """The first node says `later` to its first requests for training."""

    def __init__(self, nodes: Mapping[int, ClientApp], times: int) -> None:
        super().__init__(nodes)
        self.left = times

    def _answer(self, message: Message) -> Message:
        first = message.metadata.dst_node_id == 1 and message.metadata.message_type == TRAIN
        if first and self.left:
            self.left -= 1
            return Message(Refusal("north", RefusalCode.LATER).to_record(), reply_to=message)
        return super()._answer(message)


@pytest.mark.parametrize("times", [1, 3])
def test_a_site_that_says_later_is_asked_again_where_the_cohort_needs_it(
    times: int, world: World, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = run(replace(world, folder=tmp_path / "whole"), recipe)
    monkeypatch.setattr(asking, "LATER_SECONDS", 0.02)
    monkeypatch.setattr(federation, "InProcessGrid", lambda nodes: SaysLater(nodes, times))
    outcome = run(world, recipe)
    assert [record.cohort for record in outcome.records] == [["north", "south"]] * 2
    assert digest(outcome) == digest(whole)
