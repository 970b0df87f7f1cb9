"""The round: each participant is in the sum once or named as missing, in whatever order."""

import math

import pytest
import torch
from conftest import key_of, small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_server.fold import Fold
from fedward_server.layout import Layout
from fedward_server.reasons import NO_REPLY
from fedward_server.rounds import Ask, Round
from fedward_shared import canonical, tensors
from fedward_shared.assurances import Delivery
from fedward_shared.charter_terms import AggregationTerms, Participant
from fedward_shared.errors import RefusalCode
from fedward_shared.messages import Answer, Refusal, Update
from fedward_shared.tensors import Schema

SITES = ("east", "north", "south")
SCHEMA: Schema = {"w": (3,)}
DIGEST = "sha256:" + "0" * 64
CHARTER = small_charter(
    DIGEST,
    aggregation=AggregationTerms(
        minimum_cohort=2, maximum_update_norm=100.0, round_deadline_seconds=10.0
    ),
    participants=tuple(
        Participant(name=name, records=100, key=key_of(name).public.text) for name in SITES
    ),
)


def opened() -> Round:
    layout = Layout(SCHEMA)
    asked = dict.fromkeys(SITES, Ask(1, DIGEST, 0.0))
    return Round(1, CHARTER, asked, layout, Fold(layout, 100.0, 3))


def folded(round_: Round) -> int:
    """The weight that is in the sum."""
    assert isinstance(round_.collector, Fold)
    return round_.collector.total_weight


def signed(site: str, content: bytes, signer: str = "", /, **changes: object) -> Update:
    """An update with the site's own delivery, or one in which something is changed."""
    terms = {
        "charter": CHARTER.digest,
        "site": site,
        "round": 1,
        "adapter": DIGEST,
        "update": canonical.digest(content),
        "epsilon": "0.5",
        "delta": "1e-05",
        "head": "0" * 64,
    }
    delivery = Delivery.model_validate(terms | changes)
    return Update(site, delivery.signed(key_of(signer or site)), content)


def update(site: str, values: list[float], signer: str = "", /, **changes: object) -> Update:
    return signed(site, tensors.encode({"w": torch.tensor(values)}), signer, **changes)


def candidates(site: str) -> list[Answer]:
    """Answers of all kinds; signed once here, since signing takes longer than drawing."""
    return [
        *(update(site, values) for values in ([1.0, -2.0, 3.0], [0.0, 0.0, 0.0], [9.0, 9.0, -9.0])),
        update(site, [math.nan, 0, 0]),
        update(site, [0.0]),
        update(site, [1e3, 0, 0]),
        update(site, [1.0, 1.0, 1.0], round=2),
        update(site, [1.0, 1.0, 1.0], "another"),
        update("another", [1.0, 1.0, 1.0]),
        signed(site, b"garbage"),
        Refusal(site, RefusalCode.BUDGET),
    ]


def test_who_says_later_is_outstanding_until_the_deadline() -> None:
    round_ = opened()
    round_.offer("east", Refusal("east", RefusalCode.LATER))
    round_.offer("north", Refusal("north", RefusalCode.LATER))
    assert round_.outstanding == set(SITES)
    round_.offer("east", update("east", [1.0, 1.0, 1.0]))
    round_.offer("south", update("south", [1.0, 1.0, 1.0]))
    assert round_.sufficient
    assert round_.outstanding == {"north"}
    round_.tick(10.0)
    assert round_.missing == {"north": "refused: later"}


answers = st.sampled_from([(site, answer) for site in SITES for answer in candidates(site)])


@given(st.lists(answers, max_size=12))
def test_each_participant_is_in_the_sum_once_or_named(sent: list[tuple[str, Answer]]) -> None:
    round_ = opened()
    first: dict[str, Answer] = {}
    for site, answer in sent:
        round_.offer(site, answer)
        first.setdefault(site, answer)
    round_.tick(11.0)
    assert round_.closed
    assert round_.updates.keys() | round_.missing.keys() == set(SITES)
    assert not round_.updates.keys() & round_.missing.keys()
    assert folded(round_) == len(round_.updates)
    assert all(round_.missing[site] == NO_REPLY for site in set(SITES) - first.keys())
    for site in round_.updates:
        good = first[site]
        assert isinstance(good, Update)
        tensors.check(tensors.decode(good.update, site), SCHEMA, site)
    assert round_.sufficient == (len(round_.updates) >= 2)


def test_a_sites_claims_do_not_change_its_weight() -> None:
    modest, boastful = opened(), opened()
    for round_, claimed in ((modest, "0.1"), (boastful, "1000000000.0")):
        round_.offer("north", update("north", [1.0, 2.0, 3.0], epsilon=claimed))
        round_.offer("south", update("south", [0.0, 0.0, 0.0]))
    assert tensors.digest(modest.mean()) == tensors.digest(boastful.mean())


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (update("north", [1.0, 2.0, 3.0], "south"), "not signed by north"),
        (update("north", [1.0, 2.0, 3.0], charter="sha256:" + "1" * 64), "it is about charter"),
        (update("north", [1.0, 2.0, 3.0], adapter="sha256:" + "1" * 64), "for another round"),
        (update("north", [1.0, 2.0, 3.0], update="sha256:" + "1" * 64), "or is another one"),
        (update("north", [1.0, 2.0, 3.0], round=2), "for another round"),
        (update("north", [1.0, 2.0, 3.0], site="south"), "it is by south, not by north"),
        (update("north", [1.0, 2.0, 3.0], epsilon="-1.0"), "is no ε"),
        (update("north", [1.0, 2.0, 3.0], epsilon="much"), "is no ε"),
        (Update("north", b"garbage", tensors.encode({"w": torch.ones(3)})), "not canonical JSON"),
    ],
)
def test_an_update_that_the_site_did_not_sign_so_is_not_folded(sent: Update, why: str) -> None:
    round_ = opened()
    round_.offer("north", sent)
    assert why in round_.missing["north"]
    assert folded(round_) == 0
    assert not round_.heads


def test_what_a_site_says_of_its_ledger_is_kept() -> None:
    round_ = opened()
    round_.offer("north", update("north", [1.0, 2.0, 3.0], head="ab" * 32))
    round_.offer("south", update("south", [1.0, 2.0, 3.0], epsilon="unbounded"))
    assert round_.epsilon == {"north": 0.5, "south": math.inf}
    assert round_.heads == {"north": "ab" * 32, "south": "0" * 64}
