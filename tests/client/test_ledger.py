"""The ledger: spent before the data is touched, never given back, never started afresh."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fedward_client import ledger as module
from fedward_client import registry
from fedward_client.ledger import START, VERSION, Booking, Ledger, Limit
from fedward_shared.errors import BudgetExceeded, PrivacyError, StateError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_simulations.bench import accounting as bench

EVENT = Event("poisson-gaussian", 0.1, 4.0, 10)
DELTA = 1e-5


def limit(name: str, epsilon: float, delta: float = DELTA) -> Limit:
    return Limit(name, "site.toml", epsilon, delta)


def reserve(ledger: Ledger, round_number: int = 1, request: str = "r", budget: float = 8.0) -> int:
    return ledger.reserve(
        limit("records", budget), limit("charter", 8.0), round_number, request, EVENT
    )


class LedgerMachine(RuleBasedStateMachine):
    """Reserves, answers and crashes in any order; the oracle is the list of what was reserved."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite"
        self.ledger = Ledger(self.path)
        self.reserved: list[Event] = []
        self.last = 0.0

    @rule(round_number=st.integers(1, 3), answered=st.booleans())
    def book(self, round_number: int, answered: bool) -> None:
        would_cost = accountant.epsilon([*self.reserved, EVENT], DELTA)
        if would_cost > 2.0:
            with pytest.raises(BudgetExceeded):
                reserve(self.ledger, round_number, budget=2.0)
            return
        booking = reserve(self.ledger, round_number, budget=2.0)
        self.reserved.append(EVENT)
        if answered:
            answer = (f"delivery {booking}".encode(), f"update {booking}".encode())
            self.ledger.complete(booking, *answer)
            assert self.ledger.answer("charter", round_number, "r") == answer

    @rule()
    def crash_and_reopen(self) -> None:
        self.ledger = Ledger(self.path)

    @invariant()
    def spent_is_what_was_reserved(self) -> None:
        spent = self.ledger.spending("records").epsilon
        assert spent == accountant.epsilon(self.reserved, DELTA)
        assert spent >= self.last
        self.last = spent

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=8, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase


def test_an_answer_is_for_its_own_request_only(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.complete(reserve(ledger, 1, "a"), b"delivery", b"update")
    assert ledger.answer("charter", 1, "a") == (b"delivery", b"update")
    assert ledger.answer("charter", 2, "a") is None
    assert ledger.answer("charter", 1, "b") is None
    assert ledger.answer("other", 1, "a") is None


def test_the_charters_own_limit_holds_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    with pytest.raises(BudgetExceeded, match="the charter allows"):
        ledger.reserve(limit("records", 8.0), Limit("c", "the charter", 0.01, DELTA), 1, "r", EVENT)
    assert ledger.spending("records").bookings == 0


def test_an_accounts_delta_stays(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    reserve(ledger)
    with pytest.raises(PrivacyError, match="δ"):
        ledger.reserve(limit("records", 8.0, 1e-6), limit("charter", 8.0), 1, "r", EVENT)


def test_a_full_disk_is_named_and_nothing_is_booked(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    reserve(ledger)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # the kernel takes no byte of any file
    try:
        with pytest.raises(StateError, match=r"l\.sqlite: the ledger cannot be written"):
            reserve(ledger, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ledger.spending("records").bookings == 1
    assert reserve(ledger, 2) == 2


def test_the_last_round_of_a_study_is_known(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    assert ledger.last_round("charter") == 0
    reserve(ledger, 2)
    reserve(ledger, 1)
    assert (ledger.last_round("charter"), ledger.last_round("another")) == (2, 0)


def test_the_requests_of_later_rounds_are_counted_once_each(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    for number, request in ((1, "fit"), (2, "fit"), (3, "b"), (4, "a"), (5, "a")):
        reserve(ledger, number, request)
    assert ledger.requests_after("charter", 2) == ["b", "a"]
    assert ledger.requests_after("charter", 0) == ["fit", "b", "a"]
    assert ledger.requests_after("another", 0) == []


def test_a_killed_process_has_spent_what_it_reserved(tmp_path: Path) -> None:
    script = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from fedward_client.ledger import Ledger, Limit\n"
        "from fedward_shared.privacy.plan import Event\n"
        "l = Ledger(Path(sys.argv[1]))\n"
        "limits = [Limit(n, 'site.toml', 8.0, 1e-5) for n in ('records', 'charter')]\n"
        "l.reserve(*limits, 1, 'r', Event('poisson-gaussian', 0.1, 4.0, 10))\n"
        "print('reserved', flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "l.sqlite"
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "reserved\n"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    spending = Ledger(path).spending("records")
    assert (spending.bookings, spending.open_bookings) == (1, 1)
    assert spending.epsilon == accountant.epsilon([EVENT], DELTA)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "version"])
def test_a_damaged_ledger_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger(path)
    for number in range(40):
        reserve(ledger, number)
    ledger.close()
    if damage == "garbage":
        path.write_bytes(b"no ledger" * 1000)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-4096])
    else:
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version=99")
        db.commit()
        db.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"l\.sqlite"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_file_where_its_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match=r"state/l\.sqlite"):
        Ledger(tmp_path / "state" / "l.sqlite")


def test_an_emptied_ledger_is_no_new_one(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(b"")
    with pytest.raises(StateError):
        Ledger(path)


def studies(ledger: Ledger, **rounds: int) -> None:
    """Books so many rounds for each charter."""
    for charter, count in rounds.items():
        for number in range(count):
            ledger.reserve(limit("records", 8.0), limit(charter, 8.0), number + 1, "r", EVENT)


def test_one_study_is_composed_and_several_are_filtered(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    studies(ledger, first=3)
    spending = ledger.spending("records")
    composed = accountant.epsilon([EVENT] * 3, DELTA)
    assert spending.epsilon == spending.held == spending.set_aside == composed
    studies(ledger, second=1)
    spending = ledger.spending("records")
    assert spending.epsilon == accountant.epsilon([EVENT] * 4, DELTA)
    assert spending.held == accountant.filtered_epsilon([EVENT] * 4, DELTA) > spending.epsilon


def test_the_filter_is_what_holds_across_studies(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    studies(ledger, first=3)
    composed = accountant.epsilon([EVENT] * 4, DELTA)
    between = (composed + accountant.filtered_epsilon([EVENT] * 4, DELTA)) / 2
    with pytest.raises(BudgetExceeded, match="with this round"):
        ledger.reserve(limit("records", between), limit("second", 8.0), 1, "r", EVENT)
    ledger.reserve(limit("records", between), limit("first", 8.0), 4, "r", EVENT)


def test_what_is_set_aside_for_one_study_is_not_there_for_another(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    budget = limit("records", accountant.filtered_epsilon([EVENT] * 10, DELTA))
    ledger.set_aside(budget, "first", [EVENT] * 8)
    shown = ledger.spending("records")
    assert (shown.epsilon, shown.delta, shown.bookings) == (0.0, DELTA, 0)
    assert shown.set_aside == accountant.epsilon([EVENT] * 8, DELTA)
    ledger.set_aside(budget, "first", [EVENT] * 8)
    with pytest.raises(BudgetExceeded, match="with all rounds of this study"):
        ledger.set_aside(budget, "second", [EVENT] * 3)
    ledger.set_aside(budget, "second", [EVENT] * 2)
    for number in range(8):
        ledger.reserve(budget, limit("first", 8.0), number + 1, "r", EVENT)
    spending = ledger.spending("records")
    assert spending.held == accountant.epsilon([EVENT] * 8, DELTA)
    assert spending.set_aside == accountant.filtered_epsilon([EVENT] * 10, DELTA)
    with pytest.raises(BudgetExceeded):
        ledger.reserve(budget, limit("first", 8.0), 9, "again", EVENT)
    ledger.release("second")
    ledger.reserve(budget, limit("first", 8.0), 9, "again", EVENT)


def test_what_was_spent_stays_spent_when_the_rest_is_released(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger(path)
    budget = limit("records", 8.0)
    ledger.set_aside(budget, "first", [EVENT] * 8)
    ledger.reserve(budget, limit("first", 8.0), 1, "r", EVENT)
    ledger.release("first")
    ledger.close()
    spending = Ledger(path).spending("records")
    assert spending.held == spending.set_aside == accountant.epsilon([EVENT], DELTA)


def of_version_3(path: Path) -> None:
    """Takes the ledger in `path` back to version 3, with one kind of event set aside for a study."""
    with closing(sqlite3.connect(path)) as db, db:
        rows = db.execute("SELECT charter, account, event, rounds FROM set_aside").fetchall()
        db.execute("DROP TABLE set_aside")
        db.execute(
            "CREATE TABLE set_aside (charter TEXT PRIMARY KEY, account TEXT NOT NULL,"
            " event TEXT NOT NULL, rounds INTEGER NOT NULL) STRICT"
        )
        db.executemany("INSERT INTO set_aside VALUES (?, ?, ?, ?)", rows)
        db.execute("PRAGMA user_version=3")


def older(path: Path) -> None:
    """Takes the ledger in `path` back to version 2."""
    of_version_3(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE fingerprints")
        db.execute("DROP TABLE registrations")
        db.execute("PRAGMA user_version=2")


def shape(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
    return [tuple(map(str, row)) for row in rows]


def test_a_ledger_of_version_2_is_taken_to_this_one(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with closing(Ledger(path)) as ledger:
        studies(ledger, first=3)
        before = list(ledger.bookings())
    expected = shape(path)
    older(path)
    with closing(Ledger(path)) as ledger:
        assert list(ledger.bookings()) == before
        assert ledger.registry.last is None
        studies(ledger, second=1)
    assert shape(path) == expected
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_what_is_set_aside_is_still_there_after_version_3(tmp_path: Path) -> None:
    path, budget = tmp_path / "l.sqlite", limit("records", 8.0)
    with closing(Ledger(path)) as ledger:
        ledger.set_aside(budget, "first", [EVENT] * 3)
        ledger.set_aside(budget, "second", [EVENT])
        before = ledger.spending("records")
    expected = shape(path)
    of_version_3(path)
    with closing(Ledger(path)) as ledger:
        assert ledger.spending("records") == before
    assert shape(path) == expected


def test_different_events_are_set_aside_in_their_order(tmp_path: Path) -> None:
    answer = Event("randomized-response", 1.0, 2.0, 1)
    counts = Event("gaussian", 1.0, 30.0, 1)
    budget, events = limit("records", 8.0), [EVENT, EVENT, counts, answer]
    with closing(Ledger(tmp_path / "l.sqlite")) as ledger:
        ledger.set_aside(budget, "study", events)
        assert ledger.spending("records").set_aside == accountant.epsilon(events, DELTA)
        for number, event in enumerate(events, start=1):
            study = Limit("study", "the charter", 8.0, DELTA)
            ledger.reserve(budget, study, number, "session", event)
            assert ledger.spending("records").set_aside == accountant.epsilon(events, DELTA)
        ledger.set_aside(budget, "study", [EVENT])
        assert ledger.booked("study", 3, "session") is not None
        assert ledger.booked("study", 3, "another session") is None


def test_a_changed_ledger_of_version_2_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with closing(Ledger(path)) as ledger:
        studies(ledger, first=3)
    older(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE bookings SET round = 7 WHERE number = 2")
    before = shape(path)
    with pytest.raises(StateError, match="booking 2 is not what was booked"):
        Ledger(path)
    assert shape(path) == before


def test_a_migration_that_is_cut_off_leaves_version_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l.sqlite"
    with closing(Ledger(path)) as ledger:
        studies(ledger, first=1)
    older(path)
    before = shape(path)
    broken = {2: registry.SCHEMA + "CREATE TABLE bookings (number INTEGER) STRICT;"}
    monkeypatch.setattr(module, "MIGRATIONS", broken)
    with pytest.raises(StateError, match="table bookings already exists"):
        Ledger(path)
    assert shape(path) == before
    monkeypatch.undo()
    with closing(Ledger(path)) as ledger:
        assert ledger.spending("records").bookings == 1


def test_bookings_are_counted_from_a_moment_on(tmp_path: Path) -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    hours = iter(range(100))
    with closing(
        Ledger(tmp_path / "l.sqlite", lambda: noon + timedelta(hours=next(hours)))
    ) as ledger:
        studies(ledger, first=2, second=1)
        for hour, count in ((-1, 3), (0, 2), (1.5, 1), (2, 0)):
            assert ledger.begun_since(noon + timedelta(hours=hour)) == count


OF_PATIENTS = Event("poisson-gaussian", 0.1, 4.0, 10, "patient")


def test_an_account_keeps_its_unit(tmp_path: Path) -> None:
    """What protects a record says nothing of a patient with many, so their ε have no sum."""
    ledger = Ledger(tmp_path / "l.sqlite")
    reserve(ledger)
    for book in (
        lambda: ledger.reserve(limit("records", 8.0), limit("other", 8.0), 1, "r", OF_PATIENTS),
        lambda: ledger.set_aside(limit("records", 8.0), "other", [OF_PATIENTS] * 3),
    ):
        with pytest.raises(PrivacyError, match="one patient and what protects one record"):
            book()
    assert ledger.spending("records").bookings == 1
    ledger.reserve(limit("patients", 8.0), limit("other", 8.0), 1, "r", OF_PATIENTS)
    assert ledger.spending("patients").epsilon == ledger.spending("records").epsilon


def test_training_and_statistics_are_one_account(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    booked = [EVENT, Event("gaussian", 1.0, 10.0, 2), Event("laplace", 1.0, 20.0, 1)]
    for number, event in enumerate(booked):
        ledger.reserve(limit("records", 8.0), limit(f"study {number}", 8.0), 1, "r", event)
    spending = ledger.spending("records")
    assert spending.epsilon == accountant.epsilon(booked, DELTA)
    assert spending.held == accountant.filtered_epsilon(booked, DELTA) > spending.epsilon


def inserted(ledger: Ledger, event: str) -> None:
    booking = Booking(1, "records", repr(DELTA), "charter", 1, "r", event, "2026-01-01").after(
        START
    )
    with ledger.exclusively():
        ledger.insert(booking)


def test_bookings_of_an_earlier_release_count(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    inserted(
        ledger,
        '{"mechanism":"poisson-gaussian","noise_multiplier":"4.0","sampling_rate":"0.1","steps":10}',
    )
    assert ledger.spending("records").epsilon == accountant.epsilon([EVENT], DELTA)


def test_a_booking_that_is_not_understood_is_not_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    inserted(ledger, EVENT.as_text().replace('"version":2', '"version":3'))
    for ask in (lambda: ledger.spending("records"), lambda: reserve(ledger)):
        with pytest.raises(StateError, match="event"):
            ask()


def test_a_thousand_bookings_are_answered_in_no_time_once_they_were_composed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "l.sqlite"
    bench.filled(path)
    ledger = Ledger(path)
    first = ledger.spending("records")
    assert first.bookings == 1000 == sum(count for _, count in bench.STUDIES.values())
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert ledger.spending("records") == first
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05
    accountant.forget()
    assert ledger.spending("records") == first
