"""Ledger, audit log and witness: a crash is mended, an older copy of any of them is not."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from conftest import COORDINATOR, key_of

from fedward_client.ledger import Booking, Limit
from fedward_client.reconciliation import RESERVED
from fedward_client.recovery import recover
from fedward_client.site import Site
from fedward_shared import audit
from fedward_shared.errors import AuditError, BudgetExceeded, StateError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event

EVENT = Event("poisson-gaussian", 0.1, 4.0, 10)
DELTA = 1e-5
ACCOUNT = Limit("people", "site.toml", 8.0, DELTA)
STUDY = Limit("sha256:" + "0" * 64, "the charter", 8.0, DELTA)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    key_of("north").save(folder / "site.key")
    content = {
        "name": "north",
        "coordinators": {"university": COORDINATOR.public.text},
        "base_models": [],
        "witness": "../elsewhere/witness.json",
        "datasets": {"records": {"path": "r.jsonl", "account": "people", "epsilon": 8.0}},
    }
    (folder / "site.toml").write_text(tomli_w.dumps(content), "utf-8")
    return folder / "site.toml"


@pytest.fixture
def state(settings: Path) -> Path:
    return settings.parent / "state"


def reserve(site: Site, round_number: int, fail: Callable[[], None] | None = None) -> None:
    def announce(booking: Booking) -> None:
        site.log(RESERVED, booking=booking.as_json())
        if fail:
            fail()

    site.ledger.reserve(ACCOUNT, STUDY, round_number, "r", EVENT, announce)


def run(settings: Path, rounds: range) -> None:
    site = Site.open(settings)
    for number in rounds:
        reserve(site, number)
    site.close()


@pytest.fixture
def older(settings: Path, state: Path, tmp_path: Path) -> Path:
    """A copy of the state after two rounds; there are five."""
    run(settings, range(1, 3))
    copy = shutil.copytree(state, tmp_path / "older")
    run(settings, range(3, 6))
    return copy


def spent(settings: Path) -> tuple[int, float]:
    site = Site.open(settings)
    spending = site.ledger.spending("people")
    site.close()
    return spending.bookings, spending.epsilon


def restore(older: Path, state: Path, *names: str) -> None:
    for name in names:
        for path in state.glob(f"{name}*"):
            path.unlink()
        for path in older.glob(f"{name}*"):
            shutil.copy(path, state / path.name)


def test_an_undisturbed_site_opens(older: Path, settings: Path, state: Path) -> None:
    assert spent(settings) == (5, accountant.epsilon([EVENT] * 5, DELTA))
    entries = list(audit.read(state / "audit.jsonl", key_of("north").public))
    assert [entry.event for entry in entries] == ["witnessed", *["reserved"] * 5]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["ledger.sqlite"],
            r"ledger\.sqlite: an older copy .* booking 2 .* the audit log knows of booking 5",
        ),
        (["audit.jsonl"], r"audit\.jsonl: it ends at entry 3, but entry 6 was seen elsewhere"),
        (["ledger.sqlite", "audit.jsonl"], r"audit\.jsonl: it ends at entry 3, but entry 6"),
    ],
)
def test_an_older_copy_is_refused_and_left_as_it_is(
    names: list[str], said: str, older: Path, settings: Path, state: Path
) -> None:
    restore(older, state, *names)
    before = {path.name: path.read_bytes() for path in state.iterdir() if "-" not in path.name}
    for _ in range(2):
        with pytest.raises(StateError, match=said):
            Site.open(settings)
    after = {path.name: path.read_bytes() for path in state.iterdir() if "-" not in path.name}
    assert after == before


def test_without_a_witness_an_older_log_still_shows_against_the_ledger(
    older: Path, settings: Path, state: Path
) -> None:
    text = settings.read_text("utf-8")
    settings.write_text(text.replace('witness = "../elsewhere/witness.json"\n', ""), "utf-8")
    restore(older, state, "audit.jsonl")
    with pytest.raises(
        StateError, match=r"audit\.jsonl: an older copy was put here: the ledger ends"
    ):
        Site.open(settings)


def test_a_witness_that_is_gone_or_damaged_is_refused(
    older: Path, settings: Path, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere" / "witness.json"
    place.write_bytes(b'{"number":"many"}')
    with pytest.raises(StateError, match="not a witness of an audit log"):
        Site.open(settings)
    place.unlink()
    with pytest.raises(StateError, match=r"witness\.json: the witness is gone"):
        Site.open(settings)


def test_another_log_of_the_same_length_is_refused(
    older: Path, settings: Path, state: Path
) -> None:
    for path in [*state.glob("*.sqlite*"), state / "audit.jsonl"]:
        path.unlink()
    text = settings.read_text("utf-8")
    alone = settings.with_name("alone.toml")
    alone.write_text(text.replace("../elsewhere/witness.json", "own.json"), "utf-8")
    run(alone, range(11, 16))
    with pytest.raises(StateError, match="line 6: another entry was seen elsewhere"):
        Site.open(settings)


class PowerCut(BaseException):
    """Nothing catches it."""


def test_a_crash_between_log_and_ledger_is_booked_from_the_log(settings: Path, state: Path) -> None:
    run(settings, range(1, 3))
    site = Site.open(settings)

    def cut() -> None:
        raise PowerCut

    with pytest.raises(PowerCut):
        reserve(site, 3, cut)
    assert site.ledger.spending("people").bookings == 2
    assert spent(settings) == (3, accountant.epsilon([EVENT] * 3, DELTA))
    entries = list(audit.read(state / "audit.jsonl", key_of("north").public))
    assert [entry.event for entry in entries[-2:]] == ["reserved", "rebooked"]
    run(settings, range(4, 5))
    assert spent(settings)[0] == 4


def test_nothing_is_booked_that_cannot_be_logged(
    settings: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings, range(1, 3))
    site = Site.open(settings)

    def full(*_: object, **__: object) -> None:
        raise AuditError("disk full")

    monkeypatch.setattr(site.audit, "append", full)
    with pytest.raises(AuditError, match="disk full"):
        reserve(site, 3)
    monkeypatch.undo()
    site.close()
    assert spent(settings)[0] == 2


def test_a_booking_that_was_changed_in_the_ledger_is_noticed(settings: Path, state: Path) -> None:
    run(settings, range(1, 4))
    with sqlite3.connect(state / "ledger.sqlite") as db:
        db.execute(
            "UPDATE bookings SET event = replace(event, '\"4.0\"', '\"40.0\"') WHERE number = 2"
        )
    with pytest.raises(StateError, match="booking 2 is not what was booked"):
        Site.open(settings)


def test_a_recovery_with_a_witness_books_what_the_log_has(
    older: Path, settings: Path, state: Path
) -> None:
    restore(older, state, "ledger.sqlite")
    said = recover(settings, "disk of the ledger failed", "anna")
    assert said == ["bookings that the audit log has and the ledger lacked, now booked: 3"]
    assert spent(settings) == (5, accountant.epsilon([EVENT] * 5, DELTA))
    last = list(audit.read(state / "audit.jsonl", key_of("north").public))[-1]
    assert last.event == "recovered"
    assert last.details["reason"] == "disk of the ledger failed"
    assert (last.details["by"], last.details["closed"]) == ("anna", [])
    run(settings, range(6, 7))
    assert spent(settings)[0] == 6


@pytest.mark.parametrize("names", [["audit.jsonl"], ["ledger.sqlite", "audit.jsonl"]])
def test_a_recovery_that_cannot_know_closes_the_account(
    names: list[str], older: Path, settings: Path, state: Path
) -> None:
    restore(older, state, *names)
    said = recover(settings, "backup of last week", "anna")
    assert said[-1].startswith("account people: closed for good")
    assert spent(settings)[1] == float("inf")
    site = Site.open(settings)
    with pytest.raises(BudgetExceeded):
        reserve(site, 9)
    site.close()


def test_a_recovery_without_a_witness_closes_the_account_too(
    older: Path, settings: Path, state: Path
) -> None:
    text = settings.read_text("utf-8")
    settings.write_text(text.replace('witness = "../elsewhere/witness.json"\n', ""), "utf-8")
    restore(older, state, "ledger.sqlite")
    recover(settings, "no witness here", "anna")
    assert spent(settings) == (6, float("inf"))


def test_a_recovery_after_the_ledger_was_lost(older: Path, settings: Path, state: Path) -> None:
    for path in state.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(StateError, match=r"ledger\.sqlite: the ledger is gone"):
        Site.open(settings)
    assert not list(state.glob("ledger.sqlite*"))
    assert recover(settings, "disk failed", "anna")[0].endswith("now booked: 5")
    assert spent(settings) == (5, accountant.epsilon([EVENT] * 5, DELTA))
