"""Sites that look for each other's near-duplicates, over the real relay and real sockets."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from client.attendance.consortium import (
    COORDINATOR,
    SESSION,
    Deployed,
    Killed,
    Mortal,
    opened,
)
from client.exchange.running import RunningRelay
from conftest import key_of
from typer.testing import CliRunner

from fedward_client import charters, consent, duplicates_found, review
from fedward_client.attendance.egress import Egress
from fedward_client.boundary.wire import RefusedByCore
from fedward_client.commands.site import site as site_command
from fedward_shared import agreement, sessions
from fedward_shared.assurances import Completion, SessionRequest
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import (
    CharterError,
    ExchangeError,
    PrivacyError,
    RefusalCode,
    StateError,
)
from fedward_shared.exchange.program import encode
from fedward_shared.privacy.plan import INTERSECTION
from fedward_shared.psi import POINT_BYTES
from fedward_shared.text import BANDS

SITES = ("bank", "bureau", "telecom")
ALLOWED = {"most": 40, "step": 4, "sessions": 2}
NOTE = "the patient number {} has a cough and a fever and was seen on ward {} before noon"


def drafted(names: tuple[str, ...] = SITES, **changes: Any) -> DuplicatesCharter:
    content = {
        "study": "twice",
        "purpose": "Which notes two of us have",
        "legal_basis": "Contract",
        "expires": "2099-01-01",
        "coordinator": {"name": "university", "key": COORDINATOR.public.text},
        "dataset": "customers",
        "participants": [
            {"name": name, "key": key_of(name).public.text, "records": 8} for name in names
        ],
        "duplicates": {"seed": 7, "most": 12, "step": 4, "sessions": 2, **changes},
        "exchange": {"patience_seconds": 20.0},
    }
    return agreement.parse(content, DuplicatesCharter, "test")


def notes_of(name: str) -> dict[str, list[str]]:
    """Of each site some of its own, some that another one has, and one that is too short."""
    held = {"bank": [1, 2, 3, 4], "bureau": [3, 4, 5], "telecom": [5, 1]}[name]
    own = [NOTE.format(f"{n} {n * 7}", n * 3) for n in held]
    return {
        "note": [*own, "no change", f"of {name} alone is what this note has to say here today"],
        "whose": [f"person {n}" for n in range(len(own) + 2)],
    }


def dataset(**changes: Any) -> dict[str, Any]:
    return {
        "path": "customers.jsonl",
        "account": "customers",
        "epsilon": 1.0,
        "columns": {"text": "note"},
        "owner": "whose",
        "duplicates": ALLOWED,
        **changes,
    }


def deployed(
    tmp_path: Path,
    relay: RunningRelay,
    charter: DuplicatesCharter,
    names: tuple[str, ...] = SITES,
    **changes: Any,
) -> dict[str, Deployed]:
    sessions.save(tmp_path / "sent", charter, COORDINATOR)
    opened(relay, charter)
    settings = {"without_dp": "", "datasets": {"customers": dataset(**changes)}}
    return {
        name: Deployed(tmp_path / name, name, tmp_path / "sent", relay, notes_of, **settings)
        for name in names
    }


def attended(
    sites: dict[str, Deployed], charter: DuplicatesCharter, session: str = SESSION
) -> dict[str, Completion]:
    workers = {
        name: site.attend(charter, session, purpose="compare") for name, site in sites.items()
    }
    return {
        name: Completion.read_of(worker.done(20).completion, charter, name, "test")
        for name, worker in workers.items()
    }


def kept(site: Deployed, charter: DuplicatesCharter, session: str = SESSION) -> Path:
    return site.home / "state/duplicates" / charter.digest.partition(":")[2] / session


def test_each_site_gets_its_own_and_nobody_else_does(tmp_path: Path, relay: RunningRelay) -> None:
    charter = drafted()
    sites = deployed(tmp_path, relay, charter)
    done = attended(sites, charter)
    found = {
        name: json.loads((kept(site, charter) / "result.json").read_bytes())
        for name, site in sites.items()
    }
    assert found["bank"]["alike"] == {
        "bureau": [[3, BANDS], [4, BANDS]],
        "telecom": [[1, BANDS]],
    }
    assert found["bureau"]["alike"] == {
        "bank": [[1, BANDS], [2, BANDS]],
        "telecom": [[3, BANDS]],
    }
    assert found["telecom"]["alike"] == {"bank": [[2, BANDS]], "bureau": [[1, BANDS]]}
    assert [found[name]["records"] for name in SITES] == [5, 4, 3]  # what is short takes no part
    for name, site in sites.items():
        assert (kept(site, charter) / "result.json").stat().st_mode & 0o777 == 0o600
        assert not (kept(site, charter) / "model.safetensors").exists()
        assert done[name].epsilon == "0.0"
        [noted] = site.logged("attended")
        assert "not covered by epsilon" in noted["privacy"]
        assert (noted["most"], noted["sessions"], noted["purpose"]) == (12, 2, "compare")
        [ended] = site.logged("session done")
        peers = [peer for peer in SITES if peer != name]
        # Nothing that is said, or logged, depends on what was found.
        assert ended["said"].keys() == {
            f"{kind} to {peer}" for kind in ("sizes", "points", "doubled") for peer in peers
        }
        with site.site() as open_site:
            assert open_site.ledger.studies("customers") == {charter.digest: [INTERSECTION]}
            assert open_site.ledger.spending("customers").epsilon == 0.0
    for site in sites.values():
        site.stop()


@pytest.fixture
def pair(tmp_path: Path, relay: RunningRelay) -> Any:
    charter = drafted(SITES[:2])
    sites = deployed(tmp_path, relay, charter, SITES[:2])
    yield charter, sites
    for site in sites.values():
        site.stop()


def test_the_command_shows_what_came_of_the_last_session(pair: Any, tmp_path: Path) -> None:
    charter, sites = pair
    settings, out = str(sites["bank"].path), tmp_path / "alike.csv"
    early = CliRunner().invoke(site_command, ["duplicates", charter.digest, "--site", settings])
    assert isinstance(early.exception, StateError)
    attended(sites, charter)
    shown = CliRunner().invoke(
        site_command, ["duplicates", charter.digest, "--out", str(out), "--site", settings]
    )
    assert "bureau: 2 of them are nearly its own, in 16 to 16 of 16 bands" in shown.output
    assert "about 1.00" in shown.output
    assert out.stat().st_mode & 0o777 == 0o600
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["record", "site", "bands"], ["3", "bureau", "16"], ["4", "bureau", "16"]]
    assert duplicates_found.likeness(8) == pytest.approx(0.917, abs=1e-3)


def test_who_has_objected_is_not_compared_and_records_keep_their_numbers(
    tmp_path: Path, relay: RunningRelay
) -> None:
    charter = drafted(SITES[:2])
    for name in SITES[:2]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "left.txt").write_text("person 2\n" if name == "bank" else "")
    sites = deployed(tmp_path, relay, charter, SITES[:2], objections="left.txt")
    attended(sites, charter)
    result = duplicates_found.last(sites["bank"].home / "state", charter)
    assert result["alike"] == {"bureau": [[4, BANDS]]}
    assert duplicates_found.last(sites["bureau"].home / "state", charter)["alike"] == {
        "bank": [[2, BANDS]]
    }
    for site in sites.values():
        site.stop()


def test_each_session_is_booked_and_one_more_than_the_charter_has_is_refused(
    pair: Any, relay: RunningRelay
) -> None:
    """By each site's own ledger, whatever the coordinator opens."""
    charter, sites = pair
    attended(sites, charter)
    for number in ("0a", "0b"):
        opened(relay, charter, number * 32)
    attended(sites, charter, "0a" * 32)
    worker = sites["bank"].attend(charter, "0b" * 32, purpose="compare")
    with pytest.raises(RefusedByCore) as caught:
        worker.done(20)
    assert caught.value.refusal is RefusalCode.BUDGET
    with sites["bank"].site() as site:
        assert site.ledger.studies("customers")[charter.digest] == [INTERSECTION] * 2
    assert attended(sites, charter)["bank"].session == SESSION  # what was said is said again


def test_a_site_that_is_killed_goes_on_and_pays_once(pair: Any) -> None:
    """It begins its program again and says the same, from its journal."""
    charter, sites = pair
    other = sites["bureau"].attend(charter, purpose="compare")
    killed = sites["bank"].attend(charter, wrapped=lambda seat: Mortal(seat, 2), purpose="compare")
    killed.ended()
    assert isinstance(killed.error, Killed)
    again = sites["bank"].attend(charter, purpose="compare")
    for worker in (other, again):
        worker.done(30)
    state = sites["bank"].home / "state"
    assert duplicates_found.last(state, charter)["alike"] == {"bureau": [[3, BANDS], [4, BANDS]]}
    with sites["bank"].site() as site:
        assert site.ledger.studies("customers")[charter.digest] == [INTERSECTION]
    assert len(sites["bank"].logged("attended")) == 1


def test_a_session_is_for_what_its_charter_is_about(pair: Any) -> None:
    charter, sites = pair
    fit = SessionRequest(charter=charter.digest, session=SESSION).signed(COORDINATOR)
    with pytest.raises(CharterError, match="no session is to fit"):
        sites["bank"].core.attend(charter.digest, fit)


@pytest.mark.parametrize(
    ("changes", "own", "said"),
    [
        ({}, None, "has no datasets.customers.duplicates"),
        ({"most": 41}, ALLOWED, "duplicates.most is 41, site.toml allows 40"),
        ({"sessions": 3}, ALLOWED, "duplicates.sessions is 3, site.toml allows 2"),
        ({"step": 2}, ALLOWED, "duplicates.step is 2, site.toml asks for 4"),
    ],
)
def test_a_site_takes_part_only_as_far_as_its_own_settings_say(
    tmp_path: Path,
    relay: RunningRelay,
    changes: dict[str, Any],
    own: dict[str, int] | None,
    said: str,
) -> None:
    settings = {} if own is None else {"duplicates": own}
    more = dataset()
    del more["duplicates"]
    charter = drafted(SITES[:2], **changes)
    sessions.save(tmp_path / "sent", charter, COORDINATOR)
    with pytest.raises(CharterError, match=said):
        Deployed(
            tmp_path / "bank",
            "bank",
            tmp_path / "sent",
            relay,
            notes_of,
            datasets={"customers": {**more, **settings}},
        )


def test_review_says_what_no_epsilon_covers(pair: Any, tmp_path: Path) -> None:
    _, sites = pair
    charter, _ = charters.read(tmp_path / "sent")
    with sites["bank"].site() as site:
        said = dict(review.sentences(charter, site))
        rules = {one.line: one.text for one in review.verdicts(charter, site)}
        assert consent.approve(site, tmp_path / "sent")[1] is not None
    assert said["What it tells"].startswith("NOT covered by ε")
    assert "12 documents in a session, as 192 keys" in said["Guessing"]
    assert "There are 2 sessions" in said["Guessing"]
    assert said["What it costs"].startswith("No ε, as none covers it: 2 sessions")
    assert "NOT protected" in said["Dataset"]
    assert rules["datasets.customers.duplicates"].startswith("NOT covered by ε: bureau learn")


def test_no_more_leaves_than_the_charter_lets_a_peer_show_and_nothing_before_it_is_booked() -> None:
    egress = Egress(drafted(), "bank", "compare")
    point = encode("points", b"\1" * POINT_BYTES)
    egress.check("bureau", encode("sizes", b"\0\0\0\4"))
    with pytest.raises(PrivacyError, match="points may leave after booking 1, 0 are made"):
        egress.check("bureau", point)
    egress.booked = 1
    for kind in ("points", "doubled"):
        whole = encode(kind, bytes(12 * BANDS * POINT_BYTES))  # type: ignore[arg-type]
        egress.check("bureau", whole)
        egress.check("telecom", whole)
        with pytest.raises(ExchangeError, match=f"{kind} for bureau, at most {len(whole) - 1}"):
            egress.check("bureau", encode(kind, bytes(POINT_BYTES)))  # type: ignore[arg-type]
    for body in (encode("places", bytes(4)), encode("cells", b"\0")):
        with pytest.raises(ExchangeError, match="the charter has this site send no"):
            egress.check("bureau", body)
    with pytest.raises(ExchangeError, match="stranger is no peer"):
        egress.check("stranger", point)
