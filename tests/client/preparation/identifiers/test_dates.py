"""Dates are found in all forms, and moved so that intervals stay."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation.identifiers import dates

FORMS = [
    "2021-03-09", "2021/03/09", "03/09/2021", "09.03.2021", "9.3.21", "9. März 2021", "March 9, 2021",
    "9th of March 2021", "09-Mar-2021", "Mar 9 2021", "2021年3月9日", "20210309",
]  # fmt: skip
PARTIAL = [
    "March 2021",
    "03/2021",
    "March 9",
    "3月9日",
    "2021年3月",
    "二〇二一年三月九日",
    "on 3/9",
    "am 9.3.",
]
CLINICAL = [
    "120/80 mmHg", "pain 5/10", "1-0-1", "HbA1c 7.2", "K 4.2 mmol/l", "may 5 mg", "0002-8215-01",
    "4548-4", "3/14 nodes", "in 2021", "GCS 15/15", "37.5",
]  # fmt: skip


def found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in dates.find(text)]


@pytest.mark.parametrize("text", FORMS)
def test_a_full_date_is_found_whole(text: str) -> None:
    assert text in found(f"Visit {text}, then home.")
    assert text in found(f"于{text}入院")


@pytest.mark.parametrize("text", PARTIAL)
def test_what_is_more_exact_than_a_year_is_found(text: str) -> None:
    assert found(f"It was {text} again.")


@pytest.mark.parametrize("text", CLINICAL)
def test_a_measurement_is_no_date(text: str) -> None:
    assert found(f"Noted: {text} today.") == []


@pytest.mark.parametrize("text", FORMS)
def test_there_and_back(text: str) -> None:
    there = dates.shifted(text, 100, day_first=False)
    assert there is not None
    assert there != text
    back = dates.shifted(there, -100, day_first=False)
    assert back is not None
    assert back.replace("0", "") == text.replace("0", "")  # 9 may come back as 09


@given(
    st.dates(date(1990, 1, 1), date(2020, 1, 1)),
    st.integers(0, 3000),
    st.integers(-364, 364),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%d %B %Y", "%Y年%m月%d日"]),
)
def test_intervals_stay(first: date, apart: int, days: int, form: str) -> None:
    moved = []
    for day in (first, first + timedelta(apart)):
        expected = (day + timedelta(days)).strftime(form)
        assert dates.shifted(day.strftime(form), days, day_first=True) == expected
        moved.append(expected)


def test_a_date_that_cannot_be_is_not_moved() -> None:
    assert dates.shifted("2021-02-30", 1, day_first=False) is None
    assert dates.shifted("March 2021", 1, day_first=False) is None
