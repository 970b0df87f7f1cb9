"""What a charter may ask for, and what that costs by an accountant that is not ours."""

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from shared.statistics.made import AGE, WARD, charter, terms

from fedward_shared.errors import CharterError, PrivacyError
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.charter import StatisticsCharter
from fedward_shared.statistics.terms import CategoryColumn, NumberColumn, StatisticsTerms


def relative(asked: StatisticsTerms) -> list[float]:
    """Noise of each question, by the length that one unit moves it."""
    layout = Layout(asked)
    return [layout.deviation(q) / q.reach for q in layout.questions]


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(("unit", "most"), [("record", 1), ("patient", 3)])
def test_the_parts_of_an_answer_cost_no_more_than_the_charter_says(
    epsilon: float, unit: str, most: int
) -> None:
    """Google's accountant, question by question: nothing of ours says how they compose."""
    asked = terms(epsilon, unit=unit, most_records=most)
    accountant = PLDAccountant()
    for noise in relative(asked):
        accountant.compose(dp_accounting.GaussianDpEvent(noise))
    cost = accountant.get_epsilon(asked.delta)
    assert cost <= epsilon * (1 + 1e-6)
    if epsilon <= 1.0:  # with less noise, what integers take beyond it shows
        assert cost >= 0.95 * epsilon


@given(st.integers(1, 6), st.integers(0, 6), st.booleans())
def test_the_noise_is_shared_by_as_many_questions_as_there_are(
    numbers: int, categories: int, patients: bool
) -> None:
    columns = [NumberColumn(name=f"n{k}", low=0, high=1) for k in range(numbers)]
    others = [CategoryColumn(name=f"c{k}", values=("x",)) for k in range(categories)]
    asked = terms(
        1.0, columns=(*columns, *others), label=None, unit="patient" if patients else "record"
    )
    assert len(Layout(asked).questions) == asked.questions


def test_a_charter_says_what_a_site_spends() -> None:
    asked = charter()
    assert (asked.epsilon, asked.delta, asked.unit) == (1.0, 1e-5, "record")
    assert asked.events("north") == [asked.statistics.event]
    with pytest.raises(CharterError, match="east is not among the participants"):
        asked.events("east")
    assert StatisticsCharter.model_validate(asked.body) == asked


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": (AGE, AGE)}, "columns: one occurs twice"),
        ({"label": "age"}, "label: age is no category"),
        ({"most_records": 2}, 'most_records: unit "record" has one record'),
        ({"columns": ()}, "at least 1 item"),
        ({"unit": "patient", "most_records": 10_000}, "hides everything"),
        (
            {
                "columns": tuple(
                    NumberColumn(name=f"n{k}", low=0, high=1, bins=4096) for k in range(4)
                )
            },
            "at most 16384 fit",
        ),
    ],
)
def test_what_cannot_be_asked_is_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        terms(1.0, **{"label": None, **changes})


def test_less_noise_than_epsilon_wants_is_refused() -> None:
    content = terms().model_dump(mode="json")
    with pytest.raises(ValidationError, match=r"epsilon is 1, and the answer costs 1\.0"):
        StatisticsTerms.model_validate({**content, "noise_multiplier": 3.7})


@pytest.mark.parametrize(
    "column",
    [
        {"kind": "number", "name": "x", "low": 1, "high": 1},
        {"kind": "number", "name": "x", "low": "-1.7e308", "high": "1.7e308"},
        {"kind": "number", "name": "x", "low": 0, "high": "inf"},
        {"kind": "number", "name": "x", "low": 0, "high": 1, "bins": 0},
        {"kind": "category", "name": "x", "values": []},
        {"kind": "category", "name": "x", "values": ["a", "a"]},
        {"kind": "category", "name": "x", "values": [""]},
        {"kind": "date", "name": "x"},
    ],
)
def test_a_column_that_cannot_be_is_refused(column: dict[str, object]) -> None:
    content = terms().model_dump(mode="json")
    with pytest.raises(ValidationError):
        StatisticsTerms.model_validate({**content, "label": None, "columns": [column]})


def test_somebody_is_asked_and_nobody_has_adapters() -> None:
    with pytest.raises(CharterError, match="participants: there are none"):
        charter(participants=[])
    one = charter().model_dump(mode="json")["participants"][0]
    with pytest.raises(CharterError, match="have no adapters"):
        charter(participants=[{**one, "rank": 2}])


def test_no_noise_gives_an_epsilon_that_is_none() -> None:
    with pytest.raises(PrivacyError, match="expected a finite number above 0"):
        terms(0.0)


def test_cells_have_names_of_their_own() -> None:
    assert AGE.cells[:2] == ("below 0", "0 to 10")
    assert AGE.cells[-4:] == ("90 to 100", "above 100", "no number", "missing")
    assert WARD.cells == ("heart", "bone", "other", "missing")
