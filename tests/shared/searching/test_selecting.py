import json
from contextlib import closing
from pathlib import Path

import pytest
from shared.searching.curves import terms, train

from fedward_client.ledger import Ledger, Limit
from fedward_shared.errors import BudgetExceeded, DataError, StateError, UsageError
from fedward_shared.privacy.accountant import filtered_epsilon
from fedward_shared.privacy.plan import Event
from fedward_shared.privacy.randomness import Randomness
from fedward_shared.privacy.selection import Repetitions, Selection
from fedward_shared.searching.search import opened
from fedward_shared.searching.selecting import DRAWN, select

SELECTION = Selection(Event("poisson-gaussian", 0.05, 1.0, 20), Repetitions(4.0))
TERMS = terms(sampler="random", pruner="none")


def drawn(folder: Path) -> dict[str, int]:
    return json.loads((folder / DRAWN).read_text("utf-8"))


def source(label: str = "a") -> Randomness:
    return Randomness.from_seed(1, label)


def test_as_many_trials_as_were_drawn_are_booked_once_and_the_best_is_found(tmp_path: Path) -> None:
    booked: list[Selection] = []
    found = select(tmp_path, TERMS, train, SELECTION, booked.append, source())
    assert booked == [SELECTION]
    content = drawn(tmp_path)
    assert content["trials"] == SELECTION.repetitions.draw(source())
    with closing(opened(tmp_path, TERMS, content["seed"])) as trials:
        done = trials.all()
    assert len(done) == content["trials"]
    assert found is not None
    assert found.loss == min(trial.value for trial in done)
    assert found.parameters == done[found.number].params
    assert (tmp_path / DRAWN).stat().st_mode & 0o777 == 0o600
    again = select(tmp_path, TERMS, train, SELECTION, booked.append, source("b"))
    assert (again, booked) == (found, [SELECTION])


def test_a_ledger_books_a_selection_once_and_composes_it_with_what_was_before(
    tmp_path: Path,
) -> None:
    account, study = (Limit(name, "the site", 4.0, 1e-5) for name in ("patients", "search"))
    ledger = Ledger(tmp_path / "ledger.sqlite")
    training = Event("poisson-gaussian", 0.05, 1.5, 20)
    ledger.reserve(account, Limit("study", "the site", 4.0, 1e-5), 1, "round 1", training)

    def book(selection: Selection) -> None:
        ledger.reserve(account, study, 1, "search", selection.booked)

    found = select(tmp_path / "a", TERMS, train, SELECTION, book, source())
    assert found is not None
    ledger.close()
    ledger = Ledger(tmp_path / "ledger.sqlite")  # its chain is checked, its events read again
    booked = [Event.from_text(booking.event) for booking in ledger.bookings()]
    assert booked == [training, SELECTION.booked]
    spending = ledger.spending("patients")
    expected = filtered_epsilon([training, SELECTION.booked], 1e-5)
    assert spending.held == spending.epsilon == expected
    assert filtered_epsilon([SELECTION.booked], 1e-5) < expected < 4
    with pytest.raises(BudgetExceeded, match="patients: spent ε"):
        select(tmp_path / "b", TERMS, train, SELECTION, book, source())
    assert not (tmp_path / "b" / DRAWN).exists()
    assert len(list(ledger.bookings())) == 2


def test_how_many_there_are_is_random(tmp_path: Path) -> None:
    counts = set()
    for number in range(5):
        folder = tmp_path / str(number)
        select(folder, TERMS, lambda parameters, report: 1.0, SELECTION, lambda _: None)
        counts.add(drawn(folder)["trials"])
    assert len(counts) > 1


def test_nothing_begins_without_a_booking(tmp_path: Path) -> None:
    def refuse(selection: Selection) -> None:
        raise BudgetExceeded("patients: no more")

    def never(parameters, report) -> float:
        raise AssertionError

    with pytest.raises(BudgetExceeded, match="no more"):
        select(tmp_path, TERMS, never, SELECTION, refuse)
    assert list(tmp_path.iterdir()) == []


def test_of_no_trial_nothing_is_found(tmp_path: Path) -> None:
    poisson = Selection(SELECTION.event, Repetitions(1.01, float("inf")))
    labels = (str(n) for n in range(99))
    label = next(n for n in labels if poisson.repetitions.draw(source(n)) == 0)
    assert select(tmp_path, TERMS, train, poisson, lambda _: None, source(label)) is None
    assert drawn(tmp_path)["trials"] == 0


@pytest.mark.parametrize("values", [{"sampler": "tpe", "pruner": "none"}, {"sampler": "random"}])
def test_a_search_that_looks_at_outcomes_is_no_selection(tmp_path: Path, values) -> None:
    with pytest.raises(UsageError, match="what all cost together"):
        select(tmp_path, terms(**values), train, SELECTION, lambda _: None)


def test_the_best_of_what_is_left_is_not_told_where_a_trial_was_lost(tmp_path: Path) -> None:
    def breaks(parameters, report) -> float:
        raise DataError("no such file")

    for _ in range(3):
        with pytest.raises(DataError):
            select(tmp_path, TERMS, breaks, SELECTION, lambda _: None, source())
    with pytest.raises(StateError, match="must not be released"):
        select(tmp_path, TERMS, train, SELECTION, lambda _: None, source())


@pytest.mark.parametrize("content", ["", "[]", '{"trials": 3}'])
def test_a_damaged_file_of_what_was_drawn_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / DRAWN).write_text(content)
    with pytest.raises(StateError, match="not what was drawn"):
        select(tmp_path, TERMS, train, SELECTION, lambda _: None)
