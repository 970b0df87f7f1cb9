"""What terms cost, and that they cost no more than they say."""

import pytest
from pydantic import ValidationError

from fedward_shared.errors import PrivacyError
from fedward_shared.privacy import accountant
from fedward_shared.vertical import planning
from fedward_shared.vertical.columns import NumberColumn, TableTerms
from fedward_shared.vertical.terms import (
    AlignmentTerms,
    FittingTerms,
    PassiveTerms,
    VerticalTerms,
)

DELTA = 1e-5
TABLE = TableTerms(columns=(NumberColumn(name="x", most=1),))


def vertical(privacy, **others):
    return VerticalTerms(
        active="bank",
        table=TABLE,
        label="y",
        passive=(PassiveTerms(name="bureau", table=TABLE),),
        alignment=AlignmentTerms(rules=("exact",), most=10),
        privacy=privacy,
        **others,
    )


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0, 8.0])
def test_answers_and_training_cost_the_whole_epsilon_and_no_more(epsilon):
    terms = planning.once(epsilon, DELTA)
    passive = accountant.epsilon(terms.passive_events(1), DELTA)
    active = accountant.epsilon([terms.labels(2).event("record")], DELTA)
    assert 0.99 * epsilon < passive <= epsilon
    assert 0.99 * epsilon < active <= epsilon
    # What is booked is the plan that trains, and the responses that answer.
    first, counts, last = terms.passive_events(4000)
    assert first == terms.plan(4000).event
    assert counts.noise_multiplier == pytest.approx(terms.count_noise / 2**0.5)
    assert last == terms.scores.event("record")


def test_a_dearer_answer_is_finer():
    cells = [planning.once(epsilon, DELTA).cells for epsilon in (1.0, 3.0, 8.0, 30.0)]
    assert cells == sorted(cells)
    assert cells[0] == 2
    assert cells[-1] == planning.MOST_CELLS


def test_more_records_afford_more_steps_at_the_same_cost():
    few, many = planning.once(3.0, DELTA, 6500), planning.once(3.0, DELTA, 130_000)
    assert many.steps > 5 * few.steps
    assert many.sampling_rate * 130_000 > 3 * few.sampling_rate * 6500
    for terms in (few, many):
        assert 0.99 * 3 < accountant.epsilon(terms.passive_events(1), DELTA) <= 3
    assert planning.once(3.0, DELTA, 50).sampling_rate == planning.MOST_SAMPLED


@pytest.mark.parametrize("epochs", [1, 5])
def test_an_exchange_costs_two_releases_an_epoch(epochs):
    terms = planning.every_batch(8.0, DELTA, epochs)
    cost = accountant.epsilon([terms.event(epochs)], DELTA)
    assert 0.99 * 8 < cost <= 8
    assert terms.event(epochs).steps == 2 * epochs
    with pytest.raises(ValidationError, match="the exchange costs"):
        vertical(terms, fitting=FittingTerms(epochs=epochs + 1))


@pytest.mark.parametrize("predictions", [1, 12, 200])
def test_predictions_are_paid_for_within_the_same_epsilon(predictions):
    once = planning.once(8.0, DELTA, predictions=predictions)
    batches = planning.every_batch(8.0, DELTA, 5, predictions)
    for privacy in (once, batches):
        terms = vertical(privacy, predictions=predictions, fitting=FittingTerms(epochs=5))
        events = [*terms.fitted("bureau"), *predictions * terms.predicted("bureau")]
        assert 0.98 * 8 < accountant.epsilon(events, DELTA) <= 8
        assert terms.predicted("bank") == []
        with pytest.raises(ValidationError, match=f"with {predictions + 9} predictions"):
            vertical(privacy, predictions=predictions + 9, fitting=FittingTerms(epochs=5))
    assert once.cell_epsilon < planning.once(8.0, DELTA).cell_epsilon
    # An answer is released, and one sum of embeddings: never two for the price of one.
    assert once.answer == once.scores.event("record")
    assert batches.answer.steps == 1


def test_without_predictions_a_plan_is_as_it_was():
    assert planning.once(3.0, DELTA, predictions=0) == planning.once(3.0, DELTA)
    assert planning.once(3.0, DELTA).cell_epsilon == pytest.approx(0.8 * 3)


@pytest.mark.parametrize("change", ["label_epsilon", "cell_epsilon"])
def test_terms_that_cost_more_than_they_say_are_refused(change):
    terms = planning.once(3.0, DELTA)
    dearer = {**terms.model_dump(), change: getattr(terms, change) * 1.1}
    with pytest.raises(ValidationError, match=r"epsilon is 3, and at δ"):
        type(terms).model_validate(dearer)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("inf"), float("nan")])
def test_an_epsilon_that_is_none_is_refused(epsilon):
    with pytest.raises(PrivacyError):
        planning.once(epsilon, DELTA)


def test_parties_and_columns_occur_once():
    terms = vertical(None)
    for change in ({"active": "bureau"}, {"label": "x"}):
        with pytest.raises(ValidationError):
            VerticalTerms.model_validate({**terms.model_dump(), **change})


def test_terms_are_read_as_they_were_written():
    terms = vertical(planning.once(3.0, DELTA))
    assert VerticalTerms.model_validate_json(terms.model_dump_json()) == terms


def test_of_more_classes_the_answer_is_one_of_them_and_costs_no_more():
    terms = planning.once(8.0, DELTA, classes=5)
    assert terms.cells == 5
    assert len(list(terms.passive_events(4000, classes=5))) == 2
    cost = accountant.epsilon(terms.passive_events(1, classes=5), DELTA)
    assert 0.97 * 8 < cost <= 8
