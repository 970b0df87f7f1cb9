import math
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from optuna.trial import TrialState
from pydantic import ValidationError
from shared.searching.curves import PARAMETERS, terms, train

from fedward_client.ledger import Ledger, Limit
from fedward_shared.errors import DataError, StateError
from fedward_shared.privacy.accountant import epsilon
from fedward_shared.privacy.plan import Event
from fedward_shared.searching.search import Choice, Private, Range, opened, search


def trials(folder: Path, seed: int = 1, **values) -> list:
    with closing(opened(folder, terms(**values), seed)) as found:
        return found.all()


def settings(folder: Path, **values) -> list[tuple]:
    return [(t.state, t.value, t.params) for t in trials(folder, **values)]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_search_finds_settings_that_train_better_than_most(tmp_path: Path, sampler: str) -> None:
    values = {"sampler": sampler, "pruner": "none"}
    found = search(tmp_path, terms(**values), train, seed=1)
    losses = sorted(t.value for t in trials(tmp_path, **values))
    assert (found.finished, found.stopped, found.lost, found.ended) == (8, 0, 0, None)
    assert found.loss == losses[0] < 0.7 * losses[4]
    assert found.loss == pytest.approx(train(found.parameters, lambda step, loss: None))
    assert found.parameters.keys() == PARAMETERS.keys()
    assert 2 <= found.parameters["width"] <= 32
    assert isinstance(found.parameters["width"], int)


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_worse_trials_are_stopped_and_the_best_is_not(tmp_path: Path, pruner: str) -> None:
    steps = []

    def counted(parameters, report) -> float:
        steps.append(0)

        def counting(step: int, loss: float) -> None:
            steps[-1] += 1
            report(step, loss)

        return train(parameters, counting)

    values = {"pruner": pruner, "sampler": "random", "trials": 16}
    found = search(tmp_path, terms(**values), counted, seed=3)
    assert found.stopped >= 4
    assert found.finished + found.stopped == 16
    assert sum(steps) < 0.8 * 16 * 8
    ends = [t for t in trials(tmp_path, seed=3, **values) if t.state == TrialState.COMPLETE]
    assert found.loss == min(t.value for t in ends)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_the_same_seed_gives_the_same_trials_also_if_it_was_stopped_between(
    tmp_path: Path, sampler: str
) -> None:
    search(tmp_path / "whole", terms(sampler=sampler), train, seed=1)
    for so_far in (2, 5, 8):
        search(tmp_path / "parts", terms(sampler=sampler, trials=so_far), train, seed=1)
    whole = settings(tmp_path / "whole", sampler=sampler)
    assert whole == settings(tmp_path / "parts", sampler=sampler)
    search(tmp_path / "other", terms(sampler=sampler, trials=3), train, seed=2)
    assert whole[:3] != [
        (t.state, t.value, t.params) for t in trials(tmp_path / "other", 2, sampler=sampler)
    ]


def worker(folder: Path, most: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "shared.searching.curves", str(folder), str(most)]
    tests = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": ":".join([tests, *sys.path]), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)


@pytest.fixture
def killed(tmp_path: Path) -> int:
    """The number of a trial whose worker was killed in it."""
    process = worker(tmp_path, 4)
    number = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return number


def test_a_trial_whose_worker_was_killed_is_found_and_run_again(
    tmp_path: Path, killed: int
) -> None:
    [dead] = trials(tmp_path)
    assert (dead.number, dead.state) == (killed, TrialState.RUNNING)
    found = search(tmp_path, terms(trials=4), train, seed=1)
    first, second, *_ = done = trials(tmp_path)
    assert first.state == TrialState.FAIL
    assert second.params == first.params == dead.params
    assert found.finished + found.stopped == 4
    assert len(done) == 5
    assert found.lost == 0


def test_two_workers_share_the_trials_and_none_is_run_twice(tmp_path: Path) -> None:
    workers = [worker(tmp_path, 4) for _ in range(2)]
    begun = [int(process.stdout.readline()) for process in workers]  # both in a trial at once
    assert sorted(begun) == [0, 1]
    assert [t.state for t in trials(tmp_path)] == [TrialState.RUNNING] * 2
    for process in workers:
        process.communicate("\n" * 4)
        assert process.returncode == 0
    done = trials(tmp_path)
    assert len(done) == 4
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in done)
    assert len({str(t.params) for t in done}) == 4


def test_what_a_training_raises_passes_and_its_trial_is_given_up_the_third_time(
    tmp_path: Path,
) -> None:
    def breaks(parameters, report) -> float:
        raise DataError("the corpus is gone")

    for _ in range(3):
        with pytest.raises(DataError, match="the corpus is gone"):
            search(tmp_path, terms(trials=2), breaks, seed=1)
    assert len({str(t.params) for t in trials(tmp_path)}) == 1
    found = search(tmp_path, terms(trials=2), train, seed=1)
    assert (found.lost, found.finished) == (1, 1)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize("when", ["reported", "returned"])
def test_a_loss_that_is_no_number_stops_its_trial_alone(
    tmp_path: Path, loss: float, when: str
) -> None:
    def diverges(parameters, report) -> float:
        if report.number == 1:
            if when == "reported":
                report(0, loss)
            return loss
        return train(parameters, report)

    found = search(tmp_path, terms(pruner="none", trials=3), diverges, seed=1)
    assert (found.finished, found.stopped) == (2, 1)
    assert math.isfinite(found.loss)


def test_a_search_where_nothing_is_finished_has_found_nothing(tmp_path: Path) -> None:
    found = search(tmp_path, terms(trials=2), lambda parameters, report: math.nan, seed=1)
    assert (found.parameters, found.loss, found.stopped) == (None, None, 2)


def event(parameters) -> Event:
    """Less noise where a setting asks for it."""
    return Event("poisson-gaussian", 0.05, 1.0 if parameters["activation"] == "relu" else 2.0, 20)


def test_on_private_data_each_trial_is_booked_in_the_ledger_until_the_budget_is_used(
    tmp_path: Path,
) -> None:
    """The ledger of a site: what it composes is all that was tried, and no more is tried than that."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    account, study = (Limit(name, "the site", 6.0, 1e-5) for name in ("patients", "search"))
    begun = []

    def book(number: int, event: Event) -> None:
        ledger.reserve(account, study, number, f"trial {number}", event)

    def counted(parameters, report) -> float:
        begun.append(event(parameters))
        assert len(list(ledger.bookings())) == len(begun)  # before it begins
        return train(parameters, report)

    private = Private(event, book)
    found = search(tmp_path / "search", terms(trials=60), counted, seed=1, private=private)
    assert found.ended is not None
    assert "patients: spent ε" in found.ended
    assert 3 < len(begun) < 60
    booked = [Event.from_text(booking.event) for booking in ledger.bookings()]
    assert booked == begun
    assert len(set(booked)) == 2
    assert found.loss is not None
    assert found.finished + found.stopped == len(begun)
    again = search(tmp_path / "search", terms(trials=60), counted, seed=1, private=private)
    assert again.ended is not None
    assert again.loss <= found.loss
    all_booked = [Event.from_text(booking.event) for booking in ledger.bookings()]
    assert all_booked == begun  # a trial with more noise may have had room
    assert 0.8 * 6 < epsilon(all_booked, 1e-5) <= 6


def test_a_folder_with_another_search_is_refused_and_more_trials_are_not(tmp_path: Path) -> None:
    search(tmp_path, terms(trials=1), train, seed=1)
    search(tmp_path, terms(trials=2), train, seed=1)
    for other, seed in ((terms(sampler="gp"), 1), (terms(), 2)):
        with pytest.raises(StateError, match="other settings"):
            search(tmp_path, other, train, seed=seed)
    assert len(trials(tmp_path)) == 2


def test_a_damaged_file_is_said_and_kept(tmp_path: Path) -> None:
    search(tmp_path, terms(trials=1), train, seed=1)
    file = tmp_path / "search.sqlite"
    file.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(StateError, match="cannot be read"):
        search(tmp_path, terms(trials=2), train, seed=1)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(file).execute("SELECT * FROM trials")


@pytest.mark.parametrize(
    "wrong",
    [
        {"parameters": {}},
        {"sampler": "grid"},
        {"trials": 0},
        {"parameters": {"rate": {"low": 1, "high": 1}}},
        {"parameters": {"rate": {"low": 0, "high": 1, "log": True}}},
        {"parameters": {"width": {"low": 0.5, "high": 4, "whole": True}}},
        {"parameters": {"rate": {"low": 0, "high": math.inf}}},
        {"parameters": {"kind": {"values": ["one"]}}},
        {"parameters": {"kind": {"values": ["one", "two"], "low": 1}}},
    ],
)
def test_terms_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        terms(**wrong)


def test_values_keep_their_kinds() -> None:
    read = terms(
        parameters={
            "a": {"values": [True, 1, 0.5, "x"]},
            "b": {"low": 1, "high": 2.5},
        }
    )
    assert isinstance(read.parameters["a"], Choice)
    assert [type(value) for value in read.parameters["a"].values] == [bool, int, float, str]
    assert isinstance(read.parameters["b"], Range)
