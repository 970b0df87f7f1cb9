"""Pseudonyms are the same for the same person at a site, and others elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_client import keys
from fedward_client.preparation.identifiers import pseudonyms
from fedward_client.preparation.identifiers.pseudonyms import Pseudonyms
from fedward_shared import records
from fedward_shared.errors import IdentityError

NORTH, SOUTH = Pseudonyms(b"n" * 32), Pseudonyms(b"s" * 32)
OWNERS = st.text(min_size=1).filter(lambda owner: records.normalised(owner) != "")


@given(OWNERS)
def test_the_same_person_however_written(owner: str) -> None:
    assert NORTH.person(owner) == NORTH.person(f"  {records.normalised(owner)} ")


@given(OWNERS)
def test_another_site_has_another(owner: str) -> None:
    assert NORTH.person(owner).pseudonym != SOUTH.person(owner).pseudonym


def test_dates_move_by_all_days_but_none() -> None:
    days = [NORTH.person(str(number)).days for number in range(20_000)]
    assert set(days) == set(range(-364, 365)) - {0}


def test_a_thousand_persons_have_a_thousand() -> None:
    assert len({NORTH.person(str(number)).pseudonym for number in range(1000)}) == 1000


def test_nobody_and_no_key_are_refused() -> None:
    with pytest.raises(IdentityError, match="of nobody"):
        NORTH.person(" ")
    with pytest.raises(IdentityError, match="32 bytes, not 5"):
        Pseudonyms(b"short")


def test_the_key_outlives_a_rotation() -> None:
    assert pseudonyms.LABEL in keys.LASTING
