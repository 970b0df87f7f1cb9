"""A search at a site, from SEARCH.toml to the ledger and back."""

import math
import re
import stat
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from client.home import Home
from client.searching.looked import ADAPTIVE, EPSILON, SELECTION, TRIAL, WHOLE, searched, unread
from conftest import COORDINATOR, key_of, texts

from fedward_client import consent
from fedward_client.evidence import gather, render
from fedward_client.ledger import Booking
from fedward_client.searching import looking
from fedward_client.searching.looking import IDENTITY, RESULT, Search
from fedward_client.site import Site
from fedward_shared import charter as charters
from fedward_shared import records
from fedward_shared.errors import (
    AdapterError,
    BudgetExceeded,
    CharterError,
    DataError,
    FedwardError,
    Interrupted,
    NotNow,
    PrivacyError,
    StateError,
    UsageError,
)
from fedward_shared.messages import TrainRequest
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event


@pytest.fixture
def charter(sent: tuple[Path, TrainRequest]) -> Path:
    return sent[0]


@contextmanager
def site(home: Home) -> Iterator[Site]:
    with closing(Site.open(home.settings)) as found:
        yield found


def bookings(home: Home) -> list[Booking]:
    with site(home) as found:
        return list(found.ledger.bookings())


def events(home: Home) -> list[Event]:
    return [Event.from_text(booking.event) for booking in bookings(home)]


def silent(_done: int, _of: int) -> None:
    """Shows nothing."""


def run(search: Search) -> tuple[str, list[str]]:
    said: list[str] = []
    return search.run(said.append, silent), said


def test_a_selection_is_booked_once_and_its_winner_told(home: Home, charter: Path) -> None:
    search = searched(home, charter, SELECTION, EPSILON)
    assert "one booking: ε = 3.8997 at δ = 1e-05" in search.cost()[0]
    done: list[tuple[int, int]] = []
    result = search.run(print, lambda *step: done.append(step))
    assert done[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    found = tomllib.loads(result)
    assert found.keys() == {"training"}
    assert 0.1 <= found["training"]["learning_rate"] <= 1.0
    assert events(home) == [WHOLE]
    [booking] = bookings(home)
    folder = home.folder / "search"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / RESULT).read_text("utf-8") == result
    assert stat.S_IMODE((folder / RESULT).stat().st_mode) == 0o600
    with site(home) as opened:
        [entry] = [e for e in opened.audit.entries if e.event == "reserved"]
        assert entry.details["booking"] == booking.as_json()
        assert entry.details["charter"] == search.charter.digest != booking.charter
        assert opened.ledger.spending("people").open_bookings == 0
        evidence = gather(opened, search.charter.digest)
        assert (evidence.bookings, evidence.epsilon) == (0, "0.0000")
        assert evidence.searches == [(booking.charter, "3.8997", 1)]
        assert f"3.8997 over 1 bookings of its own, <code>{booking.charter}" in render(evidence)
    again = searched(home, charter, SELECTION, EPSILON)
    assert again.cost() == ["a search that was begun goes on; people has spent ε = 3.8997"]
    unread(home)  # what was told is told again, without the records
    home.register()
    assert run(again) == (result, [])
    assert events(home) == [WHOLE]


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_a_selection_that_was_cut_off_goes_on_at_no_cost(
    home: Home, charter: Path, end: type[BaseException]
) -> None:
    def cut_off(done: int, _of: int) -> None:
        if done == 2:
            raise end

    for _ in range(2):
        with pytest.raises(Interrupted if end is KeyboardInterrupt else end):
            searched(home, charter, SELECTION, EPSILON).run(print, cut_off)
        assert events(home) == [WHOLE]
    result, _ = run(searched(home, charter, SELECTION, EPSILON))
    assert tomllib.loads(result)
    assert events(home) == [WHOLE]


@pytest.mark.parametrize("terms", [SELECTION, ADAPTIVE])
def test_a_model_that_cannot_be_costs_nothing(
    home: Home, charter: Path, terms: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise AdapterError("initial tensors: of another shape")

    search = searched(home, charter, terms, EPSILON)
    monkeypatch.setattr("fedward_client.searching.trial.adapters.at_rank", wrong)
    with pytest.raises(AdapterError, match="of another shape"):
        run(search)
    assert events(home) == []


def test_every_trial_of_an_adaptive_search_is_booked(home: Home, charter: Path) -> None:
    search = searched(home, charter, ADAPTIVE, 6.0)
    assert "2 of 2 trials fit" in search.cost()[1]
    result, said = run(search)
    assert (tomllib.loads(result).keys(), said) == ({"training"}, [])
    assert events(home) == [TRIAL, TRIAL]
    spending = home.spending()
    assert spending.epsilon == accountant.epsilon([TRIAL] * 2, 1e-5)
    assert spending.open_bookings == 0


def test_a_trial_that_was_cut_off_is_booked_again(home: Home, charter: Path) -> None:
    def cut_off(done: int, _of: int) -> None:
        if done == 2:
            raise OSError

    with pytest.raises(OSError, match=r"^$"):
        searched(home, charter, ADAPTIVE, 6.0).run(print, cut_off)
    assert events(home) == [TRIAL]
    run(searched(home, charter, ADAPTIVE, 6.0))
    assert events(home) == [TRIAL] * 3
    assert [booking.round for booking in bookings(home)] == [1, 2, 3]


def test_an_adaptive_search_ends_when_its_budget_does(home: Home, charter: Path) -> None:
    two = accountant.epsilon([TRIAL] * 2, 1e-5)
    search = searched(home, charter, ADAPTIVE, two, trials=5)
    assert "2 of 5 trials fit" in search.cost()[1]
    result, [ended] = run(search)
    assert "the search ended before its time" in ended
    assert f"--epsilon allows ε = {two:g}" in ended
    assert tomllib.loads(result)
    assert events(home) == [TRIAL, TRIAL]


@pytest.mark.parametrize("kind", [SELECTION, ADAPTIVE])
def test_without_the_budget_nothing_is_touched(
    home: Home, charter: Path, kind: dict[str, Any]
) -> None:
    unread(home)
    with pytest.raises(BudgetExceeded, match="--epsilon allows ε = 2 at"):
        searched(home, charter, kind, 2.0)
    home.edit("epsilon = 8.0", "epsilon = 2.6")  # which the approved charter has set aside
    with pytest.raises(BudgetExceeded, match=r"people: spent .* site\.toml allows"):
        searched(home, charter, kind, 6.0)
    assert not (home.folder / "search").exists()
    assert bookings(home) == []


def test_other_records_than_those_registered_are_not_booked_for(home: Home, charter: Path) -> None:
    unread(home)
    with pytest.raises(DataError, match="changed since it was registered"):
        run(searched(home, charter, SELECTION, EPSILON))
    assert bookings(home) == []


def test_hours_hold_for_a_search_too(home: Home, charter: Path) -> None:
    limited = "[limits]\nrounds_per_day = 1\n\n[coordinators]"
    home.edit("[coordinators]", limited)
    _, [ended] = run(searched(home, charter, ADAPTIVE, 6.0))
    assert "limits.rounds_per_day" in ended
    assert events(home) == [TRIAL]
    with pytest.raises(NotNow):
        run(searched(home, charter, SELECTION, EPSILON, out="other"))
    assert events(home) == [TRIAL]
    again = searched(home, charter, SELECTION, EPSILON, out="other")
    assert "one booking" in again.cost()[0]  # nothing was booked, so it has not begun


def of_many(home: Home, source: Path) -> Path:
    """A longer charter, of 400 records, so that noise does not hide what is better."""
    small, initial = charters.load(source)
    [north] = small.participants
    terms = {
        "training": small.training.model_copy(update={"local_steps": 12}),
        "privacy": small.privacy.model_copy(update={"epsilon": 30.0}),
        "participants": (north.model_copy(update={"records": 400}),),
    }
    folder = home.folder / "many"
    charters.save(folder, small.model_copy(update=terms), initial, COORDINATOR)
    records.write_jsonl(home.data, texts(400))
    home.edit("epsilon = 8.0", "epsilon = 200.0")
    with site(home) as opened:
        consent.approve(opened, folder)
    return folder


def test_of_good_and_absurd_settings_the_good_ones_win(
    home: Home, charter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking.secrets, "randbelow", lambda _: 1)
    rates = {"training.learning_rate": {"values": [1e-9, 2.0]}}
    asked = {**ADAPTIVE, "parameters": rates, "trials": 4, "startup": 4}
    result, said = run(searched(home, of_many(home, charter), asked, 100.0))
    assert said == []
    assert tomllib.loads(result) == {"training": {"learning_rate": 2.0}}
    loss, deviation = map(float, re.findall(r"\d+\.\d+", result.splitlines()[0]))
    assert loss < math.log(2) - 4 * deviation


def withdraw(home: Home, charter: Path) -> None:
    with site(home) as opened:
        consent.withdraw(opened, charters.load(charter)[0].digest)


def ask_people(home: Home, _charter: Path) -> None:
    people = f'[approval.people]\nanna = "{key_of("anna").public.text}"\n\n[coordinators]'
    home.edit("[coordinators]", people)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (withdraw, CharterError, "is not approved here"),
        (ask_people, PrivacyError, "approval.people"),
    ],
)
def test_what_nobody_has_agreed_to_is_not_done(
    home: Home,
    charter: Path,
    change: Callable[[Home, Path], None],
    error: type[FedwardError],
    says: str,
) -> None:
    unread(home)
    change(home, charter)
    with pytest.raises(error, match=says):
        searched(home, charter, SELECTION, EPSILON)
    assert bookings(home) == []


def test_a_folder_holds_one_search(home: Home, charter: Path) -> None:
    run(searched(home, charter, SELECTION, EPSILON))
    with pytest.raises(StateError, match="of another charter or SEARCH"):
        searched(home, charter, ADAPTIVE, 6.0)
    identity = home.folder / "search" / IDENTITY
    kept = identity.read_text("utf-8")
    identity.write_text(kept.replace('"request": "', '"request": "0'), "utf-8")
    home.edit("epsilon = 8.0", "epsilon = 50.0")
    with pytest.raises(StateError, match="the ledger has no booking for it"):
        run(searched(home, charter, SELECTION, 40.0))
    identity.unlink()
    with pytest.raises(UsageError, match="something else there"):
        searched(home, charter, SELECTION, EPSILON)
    assert events(home) == [WHOLE]
