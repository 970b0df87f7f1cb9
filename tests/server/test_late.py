"""Slow sites, by a fake clock: rounds that close without them, and what becomes of their updates."""

import math
from collections import Counter

import pytest
import torch
from conftest import key_of, small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_server.collecting import FRESH_WEIGHT
from fedward_server.fold import Fold
from fedward_server.layout import Layout
from fedward_server.reasons import LATE, LATER, NO_REPLY
from fedward_server.rounds import Ask, Round, chosen
from fedward_shared import canonical, tensors
from fedward_shared.assurances import Delivery
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import AggregationTerms, Participant
from fedward_shared.errors import RefusalCode
from fedward_shared.messages import Refusal, Update
from fedward_shared.tensors import Schema

SITES = ("east", "north", "south", "west")
SCHEMA: Schema = {"w": (1,)}
PATIENCE = 10.0


def charter(**terms: object) -> Charter:
    content = {"minimum_cohort": 1, "maximum_update_norm": 100.0, **terms}
    return small_charter(
        "sha256:" + "0" * 64,
        aggregation=AggregationTerms.model_validate(
            {"round_deadline_seconds": PATIENCE, **content}
        ),
        participants=tuple(
            Participant(name=name, records=100, key=key_of(name).public.text) for name in SITES
        ),
    )


BUFFERED = charter(buffer=2)
NEXT_ROUND = charter(enough=2, late="next-round")


def adapter(number: int) -> str:
    return canonical.digest(f"adapter of round {number}".encode())


def opened(
    terms: Charter,
    number: int,
    asked: dict[str, Ask],
    now: float = 0.0,
    sites: tuple[str, ...] = SITES,
) -> Round:
    """Round `number`, which asks those of `sites` that have not been asked already."""
    fresh = Ask(number, adapter(number), now)
    layout = Layout(SCHEMA)
    folded = Fold(layout, 100.0, len(SITES) * FRESH_WEIGHT)
    return Round(number, terms, dict.fromkeys(sites, fresh) | asked, layout, folded)


def update(site: str, number: int, value: float = 1.0) -> Update:
    """What `site` makes of the request for round `number`."""
    content = tensors.encode({"w": torch.tensor([value])})
    delivery = Delivery(
        charter=BUFFERED.digest,
        site=site,
        round=number,
        adapter=adapter(number),
        update=canonical.digest(content),
        epsilon="0.5",
        delta="1e-05",
        head="0" * 64,
    )
    return Update(site, delivery.signed(key_of(site)), content)


def of(terms: Charter, sent: Update) -> Update:
    """The same under another charter."""
    delivery = Delivery.read_of(sent.delivery, BUFFERED, sent.site, "test")
    changed = delivery.model_copy(update={"charter": terms.digest})
    return Update(sent.site, changed.signed(key_of(sent.site)), sent.update)


def test_a_round_closes_when_enough_have_answered_and_names_the_others() -> None:
    terms = charter(enough=2)
    round_ = opened(terms, 1, {})
    round_.offer("south", of(terms, update("south", 1)))
    round_.offer("west", Refusal("west", RefusalCode.LATER))
    assert not round_.closed
    round_.offer("east", of(terms, update("east", 1)))
    assert round_.closed
    assert round_.missing == {"north": LATE, "west": LATER}
    round_.offer("north", of(terms, update("north", 1)))
    assert sorted(round_.updates) == ["east", "south"]
    assert round_.carried == {}


def test_a_late_update_has_its_part_in_the_next_round_and_in_no_other() -> None:
    first = opened(NEXT_ROUND, 1, {})
    for site in ("south", "east"):
        first.offer(site, of(NEXT_ROUND, update(site, 1)))
    assert first.carried == {site: Ask(1, adapter(1), 0.0) for site in ("north", "west")}
    second = opened(NEXT_ROUND, 2, first.carried, 5.0)
    second.offer("north", of(NEXT_ROUND, update("north", 1, 3.0)))
    assert second.updates.keys() == {"north"}
    assert second.made_for == {"north": 1}
    second.offer("east", of(NEXT_ROUND, update("east", 2, 5.0)))
    assert second.closed
    assert second.mean()["w"].tolist() == pytest.approx([4.0], abs=1e-3)
    # West is late for the second time, south for the first.
    assert second.carried == {"south": Ask(2, adapter(2), 5.0)}


def test_a_late_site_that_never_answers_is_waited_for_until_its_own_deadline() -> None:
    first = opened(BUFFERED, 1, {})
    for site in ("south", "east"):
        first.offer(site, update(site, 1))
    second = opened(BUFFERED, 2, first.carried, 8.0)
    second.tick(9.9)
    assert second.outstanding == set(SITES)
    second.tick(10.0)
    assert second.outstanding == {"south", "east"}
    assert second.missing == {"north": NO_REPLY, "west": NO_REPLY}
    second.tick(18.0)
    assert second.closed
    assert second.carried == {}  # all are asked anew, with the newest adapter


def test_rounds_that_close_by_the_deadline_take_the_late_ones_in_the_next_too() -> None:
    terms = charter(late="next-round")
    first = opened(terms, 1, {})
    first.offer("south", of(terms, update("south", 1)))
    first.tick(PATIENCE)
    assert first.carried.keys() == {"north", "east", "west"}
    second = opened(terms, 2, {site: Ask(1, adapter(1), 10.0) for site in first.carried}, 10.0)
    second.offer("north", of(terms, update("north", 1)))
    second.tick(2 * PATIENCE)
    assert second.carried.keys() == {"south"}


def test_an_update_counts_for_the_request_that_was_made_and_for_no_other() -> None:
    first = opened(BUFFERED, 1, {})
    for site in ("south", "east"):
        first.offer(site, update(site, 1))
    second = opened(BUFFERED, 2, first.carried)
    second.offer("north", update("north", 2))
    second.offer("south", update("south", 1))
    assert all("for another round" in second.missing[site] for site in ("north", "south"))
    assert second.carried == {}


def test_a_buffered_update_weighs_less_the_older_it_is() -> None:
    round_ = opened(BUFFERED, 4, {"north": Ask(1, adapter(1), 0.0)})
    round_.offer("north", update("north", 1, 9.0))
    round_.offer("south", update("south", 4, 3.0))
    fresh, stale = FRESH_WEIGHT, round(FRESH_WEIGHT / math.sqrt(1 + 3))
    mean = (stale * 9.0 + fresh * 3.0) / (stale + fresh)
    assert round_.mean()["w"].tolist() == pytest.approx([mean], abs=1e-2)
    assert round_.closed


def test_who_is_asked_is_drawn_anew_for_each_round_and_can_be_checked() -> None:
    terms = charter(cohort=2)
    draws = [chosen(terms, number, SITES, 0) for number in range(1, 200)]
    assert draws == [chosen(terms, number, SITES[::-1], 0) for number in range(1, 200)]
    times = Counter(site for draw in draws for site in draw)
    assert all(len(set(draw)) == 2 for draw in draws)
    assert all(60 < times[site] < 140 for site in SITES)
    assert len(chosen(terms, 1, SITES, 1)) == 1
    assert chosen(terms, 1, SITES, 3) == []
    assert sorted(chosen(charter(), 1, SITES, 3)) == sorted(SITES)


events = st.lists(st.sampled_from([*SITES, "wait", "refuse"]), max_size=40)


@given(st.sampled_from([BUFFERED, NEXT_ROUND, charter(enough=3), charter(buffer=3)]), events)
def test_every_update_counts_once_and_everybody_is_named(
    terms: Charter, happens: list[str]
) -> None:
    """Sites answer their oldest request, in any order; the clock moves now and then."""
    now, number, carried = 0.0, 1, dict[str, Ask]()
    counted: Counter[tuple[str, int]] = Counter()
    round_ = opened(terms, 1, carried)
    for event in happens:
        if event == "wait":
            now += 4.0
            round_.tick(now)
        elif event == "refuse":
            round_.offer("west", Refusal("west", RefusalCode.BUDGET))
        else:
            asked = round_.asked[event]
            round_.offer(event, of(terms, update(event, asked.round)))
        if round_.closed:
            assert round_.updates.keys() | round_.missing.keys() == set(SITES)
            assert not round_.updates.keys() & round_.missing.keys()
            counted.update((site, round_.asked[site].round) for site in round_.updates)
            assert round_.carried.keys() <= round_.missing.keys()
            number += 1
            round_ = opened(terms, number, round_.carried, now)
    assert all(times == 1 for times in counted.values())
