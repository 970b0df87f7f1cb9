"""Charters of vertical studies: what is signed is what is read, and what they ask of each party."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import key_of

from fedward_shared import agreement, statements
from fedward_shared import sessions as charters
from fedward_shared.agreement import CHARTER_FILE
from fedward_shared.charter_terms import WITHOUT_DP
from fedward_shared.errors import CharterError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import UNPROTECTED
from fedward_shared.vertical import planning
from fedward_shared.vertical.charter import VerticalCharter
from fedward_shared.vertical.terms import OnceTerms

COORDINATOR = key_of("university")
PRIVACY = planning.once(8.0, 1e-5).model_dump(mode="json")
INCOME = {"columns": [{"kind": "number", "name": "income", "most": 1000}]}
DEBTS = {"columns": [{"kind": "number", "name": "debts", "most": 1000}]}
GOOD: dict[str, Any] = {
    "study": "default",
    "purpose": "Who pays back",
    "legal_basis": "Contract",
    "expires": "2030-01-01",
    "coordinator": {"name": "university", "key": COORDINATOR.public.text},
    "dataset": "loans",
    "participants": [
        {"name": name, "key": key_of(name).public.text, "records": 1000}
        for name in ("bank", "bureau", "telecom")
    ],
    "vertical": {
        "active": "bank",
        "table": INCOME,
        "label": "default",
        "passive": [{"name": name, "table": DEBTS} for name in ("bureau", "telecom")],
        "alignment": {"rules": ["exact"], "most": 10_000},
        "privacy": PRIVACY,
    },
}


def parsed(**changed: object) -> VerticalCharter:
    return agreement.parse({**GOOD, **changed}, VerticalCharter, "test")


def vertical(**changed: object) -> dict[str, Any]:
    return {**GOOD["vertical"], **changed}


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    charter = parsed()
    charters.save(tmp_path, charter, COORDINATOR)
    assert charters.load(tmp_path) == charter
    assert charters.load(tmp_path).digest == charter.digest


def test_a_draft_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "charter.toml"
    path.write_text(
        "\n".join(f"{name} = {json.dumps(GOOD[name])}" for name in list(GOOD)[:3])
        + f'\nexpires = {GOOD["expires"]}\ndataset = "loans"\nwithout_dp = "{WITHOUT_DP}"\n'
    )
    with pytest.raises(CharterError, match="coordinator: Field required"):
        agreement.parse(agreement.read_toml(path), VerticalCharter, str(path))
    path.write_text("study = ")
    with pytest.raises(CharterError, match="not a TOML file"):
        agreement.parse(agreement.read_toml(path), VerticalCharter, str(path))


def test_of_another_coordinator_or_kind_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CharterError, match=r"coordinator\.key"):
        charters.save(tmp_path, parsed(), key_of("bank"))
    path = tmp_path / CHARTER_FILE
    path.write_bytes(statements.sign("fedward/charter/1", GOOD, COORDINATOR).encode())
    with pytest.raises(CharterError, match="no charter of a study with sessions"):
        charters.load(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"participants": GOOD["participants"][:2]}, "vertical names bank, bureau, telecom"),
        ({"vertical": vertical(privacy=None)}, "without_dp"),
        ({"without_dp": WITHOUT_DP}, "without_dp: the study has vertical.privacy"),
        ({"rounds": 3}, "rounds: Extra inputs"),
        ({"vertical": vertical(active="telecom")}, "passive: a party occurs twice"),
        (
            {"participants": [{**p, "rank": 2} for p in GOOD["participants"]]},
            "participants.rank",
        ),
    ],
)
def test_terms_that_do_not_fit_are_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(CharterError, match=said):
        parsed(**changed)


def test_events_are_those_that_the_terms_pay_for() -> None:
    charter = parsed()
    terms = OnceTerms.model_validate(PRIVACY)
    assert charter.events("bank") == [terms.labels(2).event("record")]
    for site in ("bank", "bureau", "telecom"):
        cost = accountant.epsilon(charter.events(site), charter.delta)
        assert charter.epsilon is not None
        assert 0.9 * charter.epsilon < cost <= charter.epsilon


def test_without_dp_nothing_bounds_what_is_booked() -> None:
    charter = parsed(vertical=vertical(privacy=None), without_dp=WITHOUT_DP)
    assert charter.events("bureau") == [UNPROTECTED]
    assert charter.epsilon is None
    assert not UNPROTECTED.bounded


def test_predictions_are_among_the_events_of_who_answers() -> None:
    privacy = planning.once(8.0, 1e-5, predictions=3).model_dump(mode="json")
    charter = parsed(vertical=vertical(privacy=privacy, predictions=3))
    fitted, asked = charter.due("bureau", "fit"), charter.due("bureau", "predict")
    assert charter.events("bureau") == [*fitted, *3 * asked]
    assert len(asked) == 1
    assert charter.due("bank", "predict") == []
    assert charter.events("bank") == charter.due("bank", "fit")
    plain = parsed(vertical=vertical(privacy=None, predictions=2), without_dp=WITHOUT_DP)
    assert plain.events("bureau") == 3 * [UNPROTECTED]


def test_passive_parties_talk_with_the_active_one_alone() -> None:
    charter = parsed()
    assert charter.peers("bank") == ["bureau", "telecom"]
    assert charter.peers("telecom") == ["bank"]
    with pytest.raises(CharterError, match="stranger is not among the participants"):
        charter.peers("stranger")
