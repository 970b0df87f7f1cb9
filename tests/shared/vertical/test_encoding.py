"""What columns become, and that nothing but a record itself has a say in it."""

from datetime import date

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_shared.errors import DataError
from fedward_shared.vertical.columns import CategoryColumn, DateColumn, NumberColumn, TableTerms
from fedward_shared.vertical.encoding import MISSING, UNSEEN, encode

TABLE = TableTerms(
    columns=(
        NumberColumn(name="age", most=100),
        NumberColumn(name="income", most=1e6, scale="log"),
        DateColumn(name="since", first=date(2000, 1, 1), last=date(2020, 1, 1)),
        CategoryColumn(name="state", values=("NY", "CA")),
    ),
    pieces=4,
)
number = st.one_of(st.none(), st.floats(-1e9, 1e9).map(repr), st.sampled_from(["", "NA", " ?"]))
day = st.one_of(st.none(), st.dates().map(date.isoformat))
state = st.one_of(st.none(), st.sampled_from(["NY", "CA", "TX", ""]))
record = st.tuples(number, number, day, state)


def encoded(*records):
    return encode(TABLE, list(zip(*records, strict=True)))


@given(st.lists(record, min_size=1, max_size=20), st.randoms())
def test_a_record_becomes_the_same_whatever_the_others_are(records, random):
    order = list(range(len(records)))
    random.shuffle(order)
    whole, shuffled = encoded(*records), encoded(*(records[n] for n in order))
    assert torch.equal(whole.numbers_NF[order], shuffled.numbers_NF)
    assert torch.equal(whole.codes_NC[order], shuffled.codes_NC)
    alone = encoded(records[0])
    assert torch.equal(alone.numbers_NF[0], whole.numbers_NF[0])
    assert whole.numbers_NF.shape == (len(records), TABLE.width)
    assert bool(whole.numbers_NF.abs().le(1).all())
    assert int(whole.codes_NC.max()) < TABLE.categories[0]


def test_pieces_fill_up_from_the_left():
    found = encoded(
        ("30", None, None, "CA"),
        ("1000", "0", "2010-01-01", "TX"),
        ("-3", "1e6", "1999-12-31", "?"),
    )
    assert found.numbers_NF[0, :5].tolist() == pytest.approx([0.5, -0.3, -0.5, -0.5, 0])
    assert found.numbers_NF[1, :5].tolist() == [0.5, 0.5, 0.5, 0.5, 0]
    assert found.numbers_NF[2, :5].tolist() == [-0.5, -0.5, -0.5, -0.5, 0]
    assert found.numbers_NF[0, 5:10].tolist() == [0, 0, 0, 0, 1]
    assert found.numbers_NF[2, 5:10].tolist() == [0.5, 0.5, 0.5, 0.5, 0]
    assert found.codes_NC[:, 0].tolist() == [3, UNSEEN, MISSING]


def test_the_time_of_the_year_goes_round():
    found = encoded(
        (None, None, "2010-01-01", None), (None, None, "2010-07-02", None), (None, None, None, None)
    )
    turn = found.numbers_NF[:, -2:]
    assert turn[0].tolist() == pytest.approx([1, 0], abs=0.05)
    assert turn[1].tolist() == pytest.approx([-1, 0], abs=0.05)
    assert turn[2].tolist() == [0, 0]


@pytest.mark.parametrize(("column", "value"), [(0, "secret"), (2, "secret"), (2, "2020-13-01")])
def test_what_is_no_number_or_date_is_refused_by_row_and_not_by_value(column, value):
    wrong = [None, None, None, None]
    wrong[column] = value
    with pytest.raises(DataError) as caught:
        encoded(("1", "1", "2010-01-01", "NY"), tuple(wrong))
    assert TABLE.names[column] in str(caught.value)
    assert "rows 2" in str(caught.value)
    assert value not in str(caught.value)
