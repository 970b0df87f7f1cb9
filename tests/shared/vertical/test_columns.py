"""What a charter may say of columns."""

import math
from datetime import date

import pytest
from pydantic import ValidationError

from fedward_shared.charter_terms import AdapterTerms, BaseModelTerms
from fedward_shared.vertical.columns import (
    CategoryColumn,
    DateColumn,
    ImageColumn,
    NumberColumn,
    TableTerms,
    TextColumn,
)

LORA = AdapterTerms(method="lora", target_modules=("query",), layers=(1,))
MODEL = BaseModelTerms(digest="sha256:" + "0" * 64)


def test_the_middle_of_a_log_scale_is_between_the_orders_of_magnitude():
    column = NumberColumn(name="x", most=1e6 - 1, scale="log")
    assert column.place("999") == pytest.approx(0.5)
    assert math.isnan(column.place("nan"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: NumberColumn(name="x", least=2, most=2),
        lambda: NumberColumn(name="x", most=math.inf),
        lambda: DateColumn(name="x", first=date(2020, 1, 1), last=date(2020, 1, 1)),
        lambda: CategoryColumn(name="x", values=("a", "a")),
        lambda: ImageColumn(name="x", height=4, width=64),
        lambda: ImageColumn(name="x", height=64, width=64, channels=2),
        lambda: TextColumn(
            name="x", base_model=MODEL, adapter=LORA.model_copy(update={"method": "fedsvd"})
        ),
        lambda: TextColumn(
            name="x", base_model=MODEL, adapter=LORA.model_copy(update={"sketch": 0.5})
        ),
        lambda: TableTerms(
            columns=(NumberColumn(name="x", most=1), NumberColumn(name="x", most=2))
        ),
    ],
)
def test_terms_that_describe_no_column_are_refused(make):
    with pytest.raises(ValidationError):
        make()
