"""The trusted side: booked before, noised here, told once and the same for ever."""

from contextlib import closing, nullcontext
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from client.statistics.conftest import OWNERS, Home, Make, seeded
from conftest import COORDINATOR, key_of
from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.supercore.task_identity import TaskIdentity
from shared.statistics.made import terms

from fedward_client import review
from fedward_client import settings as site_settings
from fedward_client.app import answer_statistics, create_app
from fedward_client.boundary.caller import Caller
from fedward_client.boundary.listener import Listener
from fedward_client.core import Counting
from fedward_client.site import Site
from fedward_client.statistics.counting import counted
from fedward_client.trusted import Trusted
from fedward_shared import statements
from fedward_shared.errors import (
    BudgetExceeded,
    CharterError,
    DataError,
    PrivacyError,
    RefusalCode,
    StateError,
    StatementError,
)
from fedward_shared.messages import (
    STATISTICS,
    Counted,
    Hello,
    Refusal,
    StatisticsCall,
    answer_from_record,
)
from fedward_shared.privacy import accountant
from fedward_shared.statistics import tally
from fedward_shared.statistics.answer import Layout
from fedward_shared.statistics.tally import StatisticsRequest


def ask(home: Home, core: Trusted | Caller) -> Counted:
    """As the worker does."""
    call = StatisticsCall(home.charter.digest, home.request)
    return answer_statistics(core, call.to_record())


def begun(core: Trusted, home: Home) -> Counting:
    found = core.count(home.charter.digest, home.request)
    return cast(Counting, found)


def as_bytes(counts: np.ndarray) -> bytes:
    return bytes(counts.astype("<i8").tobytes())


def test_a_site_tells_its_counts_with_noise_and_books_them(make: Make) -> None:
    home = make()
    answer = ask(home, home.core)
    said = tally.read(answer.tally, home.charter, "north", "tally")
    assert said.found == ("undeclared", "undeclared")
    event = home.charter.statistics.event
    assert said.spent == accountant.epsilon([event], 1e-5) == home.spending().epsilon <= 1.0
    _, exact = counted(begun_counts(home), seeded)
    layout = Layout(home.charter.statistics)
    noise = np.array(said.numbers) - exact
    assert (noise != 0).any()
    for question in layout.questions:
        assert np.abs(noise[question.place]).max() < 7 * layout.deviation(question)
    with closing(Site.open(home.settings)) as site:
        events = [entry.event for entry in site.audit.entries]
        assert events[-2:] == ["reserved", "cleared"]
        site.check_shown(said.head)


def begun_counts(home: Home) -> Counting:
    """What the worker is given, without a booking."""
    with closing(Site.open(home.settings)) as site:
        charter = home.charter
        return Counting(
            booking=1,
            site="north",
            charter=charter,
            data=site.settings.datasets["records"].path,
            file=site.registered(charter),
            owner=None,
            left_out=None,
            columns={},
        )


def test_the_same_charter_has_the_same_answer_at_no_cost(make: Make) -> None:
    home = make()
    first, spent = ask(home, home.core), home.spending().epsilon
    assert ask(home, home.core) == first
    assert home.spending().epsilon == spent
    home.edit('owner = "owner"', 'owner = "text"')  # nothing is read again
    assert ask(home, home.core) == first


def test_after_a_crash_nothing_is_told(make: Make) -> None:
    """Between booking and answer: ε is spent, the charter pays for no second answer."""
    home = make()
    lost = begun(home.core, home)
    with pytest.raises(BudgetExceeded, match="the charter allows ε = 1"):
        ask(home, home.core)
    assert home.spending().bookings == 1
    # The process that had booked it may come back: its answer is the one.
    found, counts = counted(lost, seeded)
    told = home.core.tell(lost.booking, found, as_bytes(counts))
    assert ask(home, home.core) == told
    with pytest.raises(StateError, match="each lets out one update"):
        home.core.tell(lost.booking, found, as_bytes(counts))


def test_an_account_that_is_used_up_refuses_before_the_file_is_read(make: Make) -> None:
    home = make()
    home.edit("epsilon = 8.0", "epsilon = 0.5")
    (home.folder / "records.jsonl").chmod(0)
    with pytest.raises(BudgetExceeded, match=r"site\.toml allows ε = 0\.5"):
        begun(home.core, home)
    assert home.spending().bookings == 0


def test_counts_that_are_no_answer_are_not_told(make: Make) -> None:
    home = make()
    booked = begun(home.core, home)
    found, counts = counted(booked, seeded)
    wrong = counts.copy()
    wrong[0] += 1
    for bad in (as_bytes(wrong), as_bytes(counts)[:-1], as_bytes(counts[:-1]), b""):
        with pytest.raises((PrivacyError, DataError)):
            home.core.tell(booked.booking, found, bad)
    with pytest.raises(DataError):
        home.core.tell(booked.booking, found[:1], as_bytes(counts))
    assert home.core.tell(booked.booking, found, as_bytes(counts)).site == "north"


def test_only_the_coordinator_asks_and_only_about_this_charter(make: Make) -> None:
    home, other = make(), "sha256:" + "0" * 64
    for request in (
        StatisticsRequest(charter=home.charter.digest).signed(key_of("south")),
        StatisticsRequest(charter=other).signed(COORDINATOR),
        statements.sign("fedward/presence/1", {"charter": other}, COORDINATOR).encode(),
        b"",
    ):
        with pytest.raises(StatementError):
            home.core.count(home.charter.digest, request)
    assert home.spending().bookings == 0


def test_another_coordinators_worker_gets_nothing(make: Make) -> None:
    home = make()
    other = Trusted(lambda: site_settings.load(home.settings), coordinator="another")
    with pytest.raises(CharterError, match="is by university, and another asks for it"):
        begun(other, home)
    booked = begun(home.core, home)
    found, counts = counted(booked, seeded)
    with pytest.raises(CharterError, match="another asks for it"):
        other.tell(booked.booking, found, as_bytes(counts))


def test_a_site_that_has_not_accepted_statistics_refuses(make: Make) -> None:
    home = make()
    home.edit('statistics = "accepted"', 'statistics = "refused"')
    with pytest.raises(CharterError, match=r'says datasets\.records\.statistics = "refused"'):
        begun(home.core, home)


def test_people_are_protected_only_where_the_site_says_whose_records_are(make: Make) -> None:
    asked = terms(unit="patient", most_records=2)
    home = make(asked)
    said = tally.read(ask(home, home.core).tally, home.charter, "north", "tally")
    assert len(said.numbers) == Layout(asked).size
    home.edit('owner = "owner"\n', "")
    with pytest.raises(PrivacyError, match=r"names no datasets\.records\.owner"):
        home.core.greet(Hello(home.charter.digest, "ab" * 32))


def test_a_charter_for_statistics_has_no_rounds_and_no_sessions(make: Make) -> None:
    home = make()
    with pytest.raises(CharterError, match="it has no rounds"):
        home.core.offer(home.charter.digest, b"")
    with pytest.raises(CharterError, match="it has no sessions"):
        home.core.attend(home.charter.digest, home.request)


def test_who_objected_is_not_counted(make: Make, tmp_path: Path) -> None:
    (tmp_path / "objections.txt").write_text("a\n")
    home = make(terms(epsilon=8.0, unit="patient", most_records=2), objections="objections.txt")
    booked = begun(home.core, home)
    assert booked.left_out is not None
    _, counts = counted(booked, seeded)
    assert counts[1] == len(set(OWNERS)) - 1


def test_the_two_sides_may_have_the_socket_between_them(make: Make) -> None:
    home = make(terms(unit="patient", most_records=2))
    seen: list[object] = []
    allowed = frozenset({(home.folder).stat().st_uid})
    listener = Listener(home.folder / "core.sock", home.core, seen.append, allowed)
    listener.start()
    try:
        caller = Caller(home.folder / "core.sock")
        first = ask(home, caller)
        assert ask(home, caller) == first
    finally:
        listener.close()
    booked, *told = seen
    assert isinstance(booked, Counting)
    assert told == [first, first]
    tally.read(first.tally, home.charter, "north", "tally")


def test_what_is_said_of_a_failure_is_a_fixed_word(make: Make) -> None:
    home = make()
    begun(home.core, home)
    app = create_app(lambda _: nullcontext(home.core))
    context = Context(
        run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=UserConfig()
    )
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    call = StatisticsCall(home.charter.digest, home.request).to_record()
    asked = Message(content=call, dst_node_id=1, message_type=STATISTICS, group_id="1")
    answer = answer_from_record(app(asked, context).content)
    assert isinstance(answer, Refusal)
    assert answer.code == RefusalCode.BUDGET


def test_a_review_says_what_leaves_and_what_it_costs(make: Make) -> None:
    home = make(terms(unit="patient", most_records=2), approved=False)
    with closing(Site.open(home.settings)) as site:
        said = dict(review.sentences(home.charter, site))
        lines = {v.line: v for v in review.verdicts(home.charter, site)}
    assert "ward: how often it is heart, bone, something else or nothing" in said["Columns"]
    assert "age: numbers, counted in 10 parts from 0 to 100" in said["Columns"]
    assert "Of one patient 2 records count at most" in said["What leaves"]
    assert "ε = 1.000 at δ = 1e-05" in said["What it costs"] or "ε = 0.99" in said["What it costs"]
    assert lines["datasets.records.statistics"].allowed
    assert "by the column owner" in lines["datasets.records.owner"].text
