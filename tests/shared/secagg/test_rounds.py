"""Whole rounds: whoever is lost, and whenever, the sum is that of the survivors or there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared.secagg.rounds import STAGES, Round, names, session, values

from fedward_shared.errors import CharterError, RoundAbandoned
from fedward_shared.secagg import parcels, sharing
from fedward_shared.secagg import session as session_module
from fedward_shared.secagg.graph import check_terms, with_degree


@st.composite
def terms(draw: st.DrawFn) -> tuple[int, int, int]:
    sites = draw(st.integers(2, 9))
    colluding = draw(st.integers(0, 3))
    minimum = draw(st.integers(1, sites))
    try:
        check_terms(sites, minimum, colluding)
    except CharterError:
        return sites, sites, 0
    return sites, minimum, colluding


@settings(max_examples=40)
@given(terms(), st.sampled_from([12, 16, 32]), st.integers(1, 40), st.data())
def test_the_sum_is_that_of_the_survivors(
    parties: tuple[int, int, int], bits: int, count: int, data: st.DataObject
) -> None:
    sites, minimum, colluding = parties
    known = session(sites, minimum, colluding, bits, count)
    most = sites - minimum
    lost_sites = data.draw(st.lists(st.sampled_from(names(sites)), max_size=most, unique=True))
    lost = {site: data.draw(st.sampled_from(STAGES)) for site in lost_sites}
    made = Round(known, values(known, data.draw(st.integers(0, 99))), lost)
    found = made.run()
    assert set(found.survivors) == set(made.present("mask"))
    assert found.liars == ()
    assert (found.total == made.expected(found.survivors)).all()


@pytest.mark.parametrize("stage", STAGES)
def test_a_round_with_fewer_than_the_minimum_is_abandoned(stage: str) -> None:
    known = session(5, 4, 1)
    made = Round(known, values(known), dict.fromkeys(names(2), stage))
    with pytest.raises(RoundAbandoned, match="nothing was learnt"):
        made.run()


@pytest.fixture
def sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four neighbours each, as a cohort of hundreds has tens."""
    monkeypatch.setattr(session_module, "degree_for", lambda n, m, c: with_degree(n, m, c, 4))


@pytest.mark.usefixtures("sparse")
@pytest.mark.parametrize("stage", STAGES[:4])
def test_so_it_is_over_a_sparse_graph(stage: str) -> None:
    known = session(12, 10, 1, bits=12, count=50)
    lost = dict.fromkeys(names(12)[3:5], stage)
    made = Round(known, values(known), lost)
    found = made.run()
    assert made.aggregator.cohort.degree.degree == 4
    assert all(len(made.party(s).state.held) <= 5 for s in found.survivors)
    assert (found.total == made.expected(found.survivors)).all()


def test_the_survivors_of_a_sparse_graph_have_to_hang_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Terms that the real degree does not allow, so that a cut is at hand."""
    monkeypatch.setattr(session_module, "degree_for", lambda n, m, c: with_degree(n, n - 1, 0, 4))
    known = session(12, 8, 1)
    whole = Round(known, values(known))
    advertisements = whole.advertise()
    circle = whole.aggregator.cohort.graph._circle
    gone = {circle[0]: "mask", circle[1]: "mask", circle[6]: "mask", circle[7]: "mask"}
    whole.lost = gone
    with pytest.raises(RoundAbandoned, match=r"fall apart|neighbours of"):
        whole.mask(*whole.share(advertisements))


def test_the_sum_of_a_whole_ring_wraps_as_integers_do() -> None:
    known = session(4, 3, 1, bits=12, count=9)
    made = Round(known, {site: np.full(9, 2000 + at) for at, site in enumerate(names(4))})
    found = made.run()
    assert (found.total == made.expected(found.survivors)).all()
    assert (found.total != sum(2000 + at for at in range(4))).all()


def test_one_liar_is_named_and_does_no_harm() -> None:
    known = session(6, 5, 1)
    made = Round(known, values(known))
    agreements = made.agree(made.masked())
    liar = names(6)[0]
    for site in names(6):
        _, said = made.party(site).reveal(agreements)
        if site == liar:
            said = bytes([*said[:-1], said[-1] ^ 1])
        made.aggregator.add_reveal(site, said)
    found = made.aggregator.close()
    assert found.liars == (liar,)
    assert (found.total == made.expected(found.survivors)).all()


def test_too_many_liars_leave_no_sum() -> None:
    known = session(6, 5, 1)
    made = Round(known, values(known))
    agreements = made.agree(made.masked())
    for at, site in enumerate(names(6)):
        _, said = made.party(site).reveal(agreements)
        if at < 2:
            said = bytes([*said[:-1], said[-1] ^ (at + 1)])
        made.aggregator.add_reveal(site, said)
    assert made.aggregator.ready
    with pytest.raises(RoundAbandoned, match="do not give it back"):
        made.aggregator.close()


def test_who_has_lied_once_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One site that lies about everybody costs the search once."""
    known = session(9, 6, 1)
    made = Round(known, values(known))
    agreements = made.agree(made.masked())
    for at, site in enumerate(names(9)):
        _, said = made.party(site).reveal(agreements)
        if at == 0:
            said = parcels.encode({one: bytes(16) for one in parcels.decode(said, "test")})
        made.aggregator.add_reveal(site, said)
    combined: list[object] = []
    combine = sharing.combine

    def counted(shares: dict[int, bytes]) -> bytes:
        combined.append(shares)
        return combine(shares)

    monkeypatch.setattr(sharing, "combine", counted)
    found = made.aggregator.close()
    assert found.liars == (names(9)[0],)
    assert (found.total == made.expected(found.survivors)).all()
    assert len(combined) == 9 + 1
