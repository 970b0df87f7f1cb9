"""The masked round: each site counts once or is named with the stage it was lost in, whatever comes."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from conftest import key_of, small_charter
from hypothesis import given
from hypothesis import strategies as st

from fedward_server.masked import MaskedRound
from fedward_server.reasons import LATER, NO_REPLY
from fedward_shared import canonical
from fedward_shared.assurances import Delivery
from fedward_shared.charter_terms import AggregationTerms, Participant, SecureAggregationTerms
from fedward_shared.errors import AdapterError, RefusalCode, RoundAbandoned
from fedward_shared.masked import MaskedTerms
from fedward_shared.messages import Answer, MaskAnswer, Refusal, Sharing, Update
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.secagg import parcels
from fedward_shared.secagg.party import Party

SITES = ("east", "north", "south", "west")
SCHEMA = {"head.bias": (2,), "head.weight": (2, 3)}
DIGEST = "sha256:" + "0" * 64
CHARTER = small_charter(
    DIGEST,
    aggregation=AggregationTerms(
        minimum_cohort=3, maximum_update_norm=10.0, round_deadline_seconds=10.0
    ),
    secure_aggregation=SecureAggregationTerms(bound=8.0, precision=12),
    participants=tuple(
        Participant(name=name, records=100, key=key_of(name).public.text) for name in SITES
    ),
)
TERMS = MaskedTerms(CHARTER, 1, SCHEMA)
VALUES = {site: float(number) for number, site in enumerate(SITES)}


@dataclass
class Sites:
    """What four sites answer, without processes, ledgers and training."""

    values: dict[str, float] = field(default_factory=lambda: dict(VALUES))
    parties: dict[str, Party] = field(default_factory=dict)

    def answer(self, round_: MaskedRound, site: str) -> Answer:
        asked, stage = round_.requests[site], round_.stage
        if stage == "keys":
            session, key = TERMS.session(round_.attempt), key_of(site)
            self.parties[site], said = Party.begin(session, site, key)
            return MaskAnswer(site, "keys", said)
        party = self.parties[site]
        if isinstance(asked, Sharing):
            return self._masked(party, site, asked)
        match stage:
            case "shares":
                party, said = party.share(parcels.decode(asked, "test"))
            case "survivors":
                party, said = party.agree(list(parcels.decode(asked, "test")), key_of(site))
            case _:
                party, said = party.reveal(parcels.decode(asked, "test"))
        self.parties[site] = party
        return MaskAnswer(site, stage, said)  # type: ignore[arg-type]

    def _masked(self, party: Party, site: str, sharing: Sharing) -> Update:
        update = {name: torch.full(shape, self.values[site]) for name, shape in SCHEMA.items()}
        vector = TERMS.encode(update, site, Randomness.from_seed(0, site))
        sharers = list(parcels.decode(sharing.sharers, "test"))
        self.parties[site], masked = party.mask(sharers, sharing.envelopes, vector)
        delivery = Delivery(
            charter=CHARTER.digest,
            site=site,
            round=1,
            adapter=DIGEST,
            update=canonical.digest(masked),
            epsilon="0.5",
            delta="1e-05",
            head="0" * 64,
        )
        return Update(site, delivery.signed(key_of(site)), masked, masked=True)


def opened() -> MaskedRound:
    return MaskedRound(1, 1, CHARTER, DIGEST, SCHEMA, 0.0, frozenset(SITES))


def stage(round_: MaskedRound, sites: Sites, lost: tuple[str, ...] = (), now: float = 0.0) -> None:
    """All that are asked answer but those that are lost; then the stage is over."""
    for site in sorted(round_.asked.difference(lost)):
        round_.offer(site, sites.answer(round_, site))
    for site in lost:
        round_.fail(site, "gone")
    assert round_.closed
    round_.advance(now)


def mean_of(sites: tuple[str, ...]) -> float:
    return sum(VALUES[site] for site in sites) / len(sites)


def test_from_keys_to_the_mean() -> None:
    round_, sites = opened(), Sites()
    for expected in ("keys", "shares", "training", "survivors", "reveal"):
        assert round_.stage == expected
        stage(round_, sites)
    assert round_.done
    assert round_.dropped == round_.missing == {}
    for tensor in round_.mean.values():
        assert torch.allclose(tensor, torch.tensor(mean_of(SITES)), atol=8.0 / 2047)


STAGES = st.sampled_from(["keys", "shares", "training", "survivors", "reveal"])


@given(st.dictionaries(st.sampled_from(SITES), STAGES, max_size=3))
def test_whoever_is_lost_where_a_sum_is_the_survivors_or_there_is_none(
    lost: dict[str, str],
) -> None:
    round_, sites = opened(), Sites()
    try:
        while not round_.done:
            gone = tuple(site for site, at in lost.items() if at == round_.stage)
            stage(round_, sites, tuple(site for site in gone if site in round_.asked))
    except RoundAbandoned:
        assert len(lost) > 1
        assert not round_.mean
        return
    counted = tuple(sorted(round_.updates))
    assert len(counted) >= 3
    assert set(counted) | set(round_.missing) == set(SITES)
    assert round_.dropped == lost
    found = float(round_.mean["head.bias"][0])
    assert found == pytest.approx(mean_of(counted), abs=8.0 / 2047)


def test_a_second_message_of_a_site_changes_nothing() -> None:
    round_, sites = opened(), Sites()
    stage(round_, sites)
    stage(round_, sites)
    first = sites.answer(round_, "east")
    round_.offer("east", first)
    digest = round_.updates["east"]
    for again in (first, Refusal("east", RefusalCode.STATE), sites_of_another("east", round_)):
        round_.offer("east", again)
    assert round_.updates == {"east": digest}
    assert round_.dropped == {}
    for site in ("north", "south", "west"):
        round_.offer(site, sites.answer(round_, site))
    round_.advance(0.0)
    stage(round_, sites)
    stage(round_, sites)
    assert float(round_.mean["head.bias"][0]) == pytest.approx(mean_of(SITES), abs=8.0 / 2047)


def sites_of_another(site: str, round_: MaskedRound) -> Answer:
    """Another vector of a site of this name."""
    data = bytes(len(round_.updates[site]))
    return Update(site, b"{}", data, masked=True)


def test_each_stage_has_the_deadline_and_later_is_waited_for() -> None:
    round_, sites = opened(), Sites()
    for site in ("east", "north"):
        round_.offer(site, sites.answer(round_, site))
    round_.offer("south", Refusal("south", RefusalCode.LATER))
    assert round_.outstanding == {"south", "west"}
    round_.tick(9.0)
    round_.offer("south", sites.answer(round_, "south"))
    round_.tick(10.0)
    assert round_.missing == {"west": f"keys: {NO_REPLY}"}
    round_.advance(10.0)
    assert round_.opened_at == 10.0
    round_.offer("south", Refusal("south", RefusalCode.LATER))
    round_.tick(20.0)
    assert round_.missing["south"] == f"shares: {LATER}"
    with pytest.raises(RoundAbandoned, match="nothing was learnt"):
        round_.advance(20.0)


def test_a_sum_that_no_updates_have_is_not_taken() -> None:
    round_, sites = opened(), Sites(values=dict.fromkeys(SITES, 7.9))
    for _ in range(4):
        stage(round_, sites)
    for site in SITES:
        round_.offer(site, sites.answer(round_, site))
    with pytest.raises(AdapterError, match="the norm of the mean is 22"):
        round_.advance(0.0)
    round_.abandon("it was no update")
    assert (round_.updates, round_.mean) == ({}, {})
    assert set(round_.missing) == set(SITES)
    assert np.isfinite(round_.bytes_up)
