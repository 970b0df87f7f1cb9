"""The fault runs: what each fault does, that they are what their seed says, and that they can fail."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import Strike
from patience import PATIENCE
from rich.console import Console

from fedward_client import reconciliation
from fedward_client.ledger import Ledger, Spending
from fedward_client.masking import Masks
from fedward_server import rounds
from fedward_server.attempts import AttemptBook
from fedward_server.coordination import Coordination
from fedward_server.fold import Fold
from fedward_server.rounds import Ask, Round
from fedward_shared.assurances import Delivery
from fedward_shared.charter import Charter
from fedward_shared.errors import InvariantViolated
from fedward_shared.messages import Update
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_shared.secagg.party import Party
from fedward_simulations.faults import campaign, consortium, operations, oracle
from fedward_simulations.faults.campaign import Options
from fedward_simulations.faults.operations import COORDINATOR, SITES, Operation

RUNS = 24


def names(broken: list[tuple[str, str]]) -> list[str]:
    return sorted({name for name, _ in broken})


# What the faults do


def test_a_study_that_nothing_strikes_is_complete(strike: Strike) -> None:
    world, ending, broken = strike()
    assert (ending.outcome, broken) == ("complete", [])
    assert dict(world.trainings) == dict.fromkeys(SITES, 3)
    assert [c.answer for c in world.received if c.site == "north"] == [
        "welcome", "update", "update", "update", "noted",
    ]  # fmt: skip


def test_a_killed_site_pays_for_what_it_had_booked_and_no_more(strike: Strike) -> None:
    world, ending, broken = strike(
        Operation("kill", "north", "train.before", 2),
        Operation("kill", "south", "train.after", 1),
        minimum=3,
    )
    assert (ending.outcome, broken) == ("complete", [])
    assert dict(world.crashed) == {"north": 1}
    assert (world.trainings["north"], world.trainings["south"]) == (3, 4)


def test_a_killed_coordinator_goes_on_where_it_was(strike: Strike) -> None:
    world, ending, broken = strike(
        Operation("kill", COORDINATOR, "record.torn", 3),
        Operation("kill", COORDINATOR, "round.answered", 2),
    )
    assert (ending.outcome, ending.resumes, broken) == ("resumed and complete", 2, [])
    assert dict(world.trainings) == dict.fromkeys(SITES, 3)


@pytest.mark.parametrize("what", ["restore ledger", "restore log", "restore both"])
def test_an_older_copy_is_refused_until_people_put_the_newest_back(
    strike: Strike, what: operations.Fault
) -> None:
    world, ending, broken = strike(Operation(what, "north", "request.train", 3, 2), minimum=3)
    assert (ending.outcome, broken) == ("resumed and complete", [])
    assert world.decisions == ["the newest copies of north were put back"]
    assert "refused: state" in [c.answer for c in world.left if c.site == "north"]


def test_a_study_stops_where_people_have_withdrawn(strike: Strike) -> None:
    world, ending, broken = strike(
        Operation("withdraw", "north", "train.after"),
        Operation("withdraw", "east", "request.train", 2),
    )
    assert (ending.outcome, broken) == ("stopped: approval withdrawn", [])
    assert "north: refused: charter" in ending.stopped
    assert [c.round for c in world.left if c.site == "east" and c.answer == "update"] == [1]


def test_a_budget_that_crashes_have_used_up_stops_the_study(strike: Strike) -> None:
    kills = [Operation("kill", "north", "train.before", passing) for passing in (1, 2, 3)]
    world, ending, broken = strike(*kills, minimum=3)
    assert (ending.outcome, broken) == ("stopped: budget used up", [])
    assert world.crashed["north"] == 3


def test_a_clock_beyond_the_charters_end_keeps_a_site_out_until_it_is_right(strike: Strike) -> None:
    world, ending, broken = strike(Operation("clock", "north", "request.train", 2, 40), minimum=3)
    assert (ending.outcome, ending.resumes, broken) == ("resumed and complete", 1, [])
    assert "refused: charter" in [c.answer for c in world.left if c.site == "north"]


@pytest.mark.parametrize("fault", ["lose", "late", "out of order"])
def test_what_a_network_swallows_leaves_the_site_out_of_the_round(
    strike: Strike, fault: operations.Fault
) -> None:
    world, ending, broken = strike(Operation(fault, "north", "request.train", 1))
    assert (ending.outcome, broken) == ("complete", [])
    rounds = consortium.study_folder(world.folder) / "rounds"
    record = json.loads((rounds / "0001.json").read_bytes())["record"]
    assert record["missing"] == {"north": "no reply before the deadline"}


# Under masks


def test_a_masked_study_that_nothing_strikes_is_complete(strike: Strike) -> None:
    world, ending, broken = strike(masked=True)
    assert (ending.outcome, broken) == ("complete", [])
    round_ = ["keys", "shares", "update", "survivors", "reveal"]
    said = [c.answer for c in world.received if c.site == "north"]
    assert said == ["welcome", *round_, *round_, *round_, "noted"]


@pytest.mark.parametrize("point", ["log.masked.after", "log.agreed.after", "vault.torn"])
def test_a_site_that_is_killed_with_its_word_given_says_the_same_or_is_lost(
    strike: Strike, point: str
) -> None:
    again = Operation("twice", "south", "request.masks", 3)
    world, ending, broken = strike(Operation("kill", "north", point, 2), again, masked=True)
    assert (ending.outcome, broken) == ("complete", [])
    assert all(count <= 3 for count in world.trainings.values())


@pytest.mark.parametrize("passing", [3, 4])
def test_an_older_state_of_the_masks_gets_no_other_word(strike: Strike, passing: int) -> None:
    _, ending, broken = strike(
        Operation("restore masks", "north", "request.masks", passing, 1),
        Operation("again later", "north", "request.masks", passing),
        masked=True,
    )
    assert (ending.outcome, broken) == ("complete", [])


def test_a_coordinator_killed_while_sites_agree_abandons_that_round_alone(strike: Strike) -> None:
    world, ending, broken = strike(
        Operation("kill", COORDINATOR, "attempt.after", 2), masked=True, minimum=3
    )
    assert (ending.outcome, broken) == ("resumed and complete", [])
    rounds = consortium.study_folder(world.folder) / "rounds"
    records = [json.loads((rounds / f"{n:04d}.json").read_bytes())["record"] for n in (1, 2, 3)]
    assert [bool(record["abandoned"]) for record in records] == [True, False, False]
    assert [record["cohort"] for record in records] == [[], sorted(SITES), sorted(SITES)]


def test_sites_that_forget_their_word_are_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Masks, "_said", lambda *_: [])
    monkeypatch.setattr(AttemptBook, "answered_for", lambda *_: False)
    monkeypatch.setattr(Party, "_check_next", lambda *_: None)
    _, _, broken = strike(Operation("kill", COORDINATOR, "push.masks", 4), masked=True)
    assert "words_are_given_once" in names(broken)


# The same seed, the same run


def test_a_seed_is_a_list_of_operations_and_every_kind_comes_first_once() -> None:
    kinds = operations.catalogue()
    lists = [operations.derive(seed) for seed in range(len(kinds))]
    assert lists == [operations.derive(seed) for seed in range(len(kinds))]
    for kind, derived in zip(kinds, lists, strict=True):
        assert (kind.fault, kind.point) in [(o.fault, o.point) for o in derived[:2]]
    assert operations.derive(7) != operations.derive(7 + len(kinds))


def run_campaign(out: Path, runs: int, seed: int = 0) -> dict[str, Any]:
    campaign.campaign(Options(out, runs, seed), Console(quiet=True))
    result: dict[str, Any] = json.loads((out / "result.json").read_bytes())
    return result


def test_a_short_campaign_breaks_nothing(tmp_path: Path) -> None:
    result = run_campaign(tmp_path, RUNS)
    assert (result["runs"], result["violations"]) == (RUNS, [])
    assert sum(result["outcomes"].values()) == RUNS
    assert result["happened"] > RUNS / 2


def test_a_short_campaign_of_masked_studies_breaks_nothing(tmp_path: Path) -> None:
    first = next(seed for seed in range(1000) if operations.masked(seed))
    result = run_campaign(tmp_path, 5, seed=first + 16)
    assert (result["runs"], result["violations"]) == (5, [])
    assert result["happened"] > 2


def test_an_interrupted_campaign_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole = run_campaign(tmp_path / "whole", 6, seed=60)
    run_campaign(tmp_path / "cut", 2, seed=60)
    (tmp_path / "cut" / "result.json").unlink()
    with (tmp_path / "cut" / "studies" / "runs.jsonl").open("ab") as file:
        file.write(b'{"seed": 62, "mini')
    resumed = run_campaign(tmp_path / "cut", 6, seed=60)
    assert resumed | {"seconds": 0} == whole | {"seconds": 0}
    lines = (tmp_path / "cut" / "studies" / "runs.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [60, 61, 62, 63, 64, 65]


def test_the_command_prints_its_table(tmp_path: Path) -> None:
    options = ["simulate", "faults", "--runs", "2", "--seed", "50", "--out", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "fedward_shared.cli", *options],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "run 1 of 2, " in ended.stdout
    assert "| all | " in ended.stdout


def test_a_campaign_with_a_violation_ends_with_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "answer", lambda *_: None)
    seed = next(
        seed
        for seed in range(200)
        if any(
            (o.fault, o.point) == ("twice", "request.train") for o in operations.derive(seed)[:1]
        )
    )
    with pytest.raises(
        InvariantViolated, match=f"with seed {seed}: rounds_are_paid_once"
    ) as caught:
        run_campaign(tmp_path, 1, seed)
    assert caught.value.exit_code == 18
    [violation, *_] = json.loads((tmp_path / "result.json").read_bytes())["violations"]
    assert violation["seed"] == seed
    derived = [dataclasses.asdict(operation) for operation in operations.derive(seed)]
    assert violation["operations"] == derived


# The harness can fail


def test_the_oracle_and_fedwards_accountant_agree(templates: consortium.Templates) -> None:
    noise = 1.2
    for trainings in (1, 3, 5):
        event = Event("poisson-gaussian", consortium.SAMPLING_RATE, noise, consortium.LOCAL_STEPS)
        ours = accountant.epsilon([event] * trainings, consortium.DELTA)
        least, most = oracle.bracket(trainings, noise)
        assert least < ours < most < least + 0.05


def test_a_ledger_that_gives_back_what_a_crash_left_open_is_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Ledger.spending

    def forgiving(ledger: Ledger, account: str) -> Spending:
        spending = real(ledger, account)
        event = next(e for done in ledger.studies(account).values() for e in done)
        closed = spending.bookings - spending.open_bookings
        return dataclasses.replace(
            spending, epsilon=accountant.epsilon([event] * closed, spending.delta)
        )

    monkeypatch.setattr(Ledger, "spending", forgiving)
    _, _, broken = strike(Operation("kill", "north", "train.after"))
    assert names(broken) == ["spending_is_true"]


def test_a_ledger_that_forgets_a_booking_at_a_crash_is_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "check", lambda *_: None)
    _, _, broken = strike(Operation("kill", "north", "witness.reserved.after"))
    assert names(broken) == ["audit_fits_ledger"]


def test_a_site_that_books_twice_is_caught(strike: Strike, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Ledger.reserve

    def twice(ledger: Ledger, *terms: Any) -> int:
        real(ledger, *terms)
        return real(ledger, *terms)

    monkeypatch.setattr(Ledger, "reserve", twice)
    _, _, broken = strike()
    assert "spending_is_true" in names(broken)


def test_a_site_that_trains_again_for_the_same_request_is_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "answer", lambda *_: None)
    _, _, broken = strike(Operation("twice", "north", "request.train"))
    assert names(broken) == ["rounds_are_paid_once"]


def test_a_coordinator_that_folds_an_update_twice_is_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Fold.add
    seen: list[object] = []

    def add(fold: Fold, site: str, update: Any, weight: int) -> None:
        real(fold, site, update, weight)
        if not seen:
            real(fold, site, update, weight)
        seen.append(update)

    monkeypatch.setattr(Fold, "add", add)
    _, _, broken = strike()
    assert broken == [
        ("updates_count_once", "round 1: the adapter is not the mean of the updates that are named")
    ]


def test_a_coordinator_that_counts_an_update_of_another_round_is_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    real = Round.offer

    def offer(round_: Round, site: str, answer: Any) -> None:
        if site == "north":
            kept.append(answer)
            answer = kept[0]
            monkeypatch.setattr(rounds, "delivered", believes)
        real(round_, site, answer)

    def believes(answer: Update, charter: Charter, _: Ask, origin: str) -> Delivery:
        return Delivery.read_of(answer.delivery, charter, answer.site, origin)

    monkeypatch.setattr(Round, "offer", offer)
    _, _, broken = strike()
    assert names(broken) == ["updates_count_once"]
    assert any("counted in two rounds" in seen for _, seen in broken)


def test_a_site_that_goes_on_over_an_older_copy_is_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "check", lambda *_: None)
    _, _, broken = strike(Operation("restore log", "north", "request.train", 3, 2))
    assert "barred_sites_stay_out" in names(broken)


def test_a_coordinator_that_loses_sight_of_a_site_is_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = Coordination._record

    def record(self: Coordination, *terms: Any) -> Any:
        return real(self, *terms).model_copy(update={"missing": {}})

    monkeypatch.setattr(Coordination, "_record", record)
    _, _, broken = strike(Operation("lose", "north", "request.train"))
    assert names(broken) == ["missing_are_named"]


def test_a_coordinator_that_never_comes_back_is_caught(
    strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_start(*_: object) -> None:
        raise OSError("no such luck")

    monkeypatch.setattr(Coordination, "run", broken_start)
    _, _, broken = strike()
    assert broken == [("study_ends", "stopped after 0 resumes: untyped OSError: no such luck")]
