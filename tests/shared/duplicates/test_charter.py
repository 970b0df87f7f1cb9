"""The charter of a study of duplicates."""

from pathlib import Path
from typing import Any

import pytest
from conftest import COORDINATOR, key_of

from fedward_shared import agreement
from fedward_shared.agreement import CHARTER_FILE
from fedward_shared.duplicates.charter import DuplicatesCharter
from fedward_shared.errors import CharterError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event
from fedward_shared.sessions import save

NAMES = ("north", "south", "west")
GOOD: dict[str, Any] = {
    "study": "twice",
    "purpose": "Which notes two hospitals have",
    "legal_basis": "Decision 7",
    "expires": "2099-01-01",
    "coordinator": {"name": "university", "key": COORDINATOR.public.text},
    "dataset": "notes",
    "participants": [
        {"name": name, "key": key_of(name).public.text, "records": 40} for name in NAMES
    ],
    "duplicates": {"seed": 5, "most": 50, "step": 20, "sessions": 2},
}


def parsed(**changes: Any) -> DuplicatesCharter:
    return agreement.parse({**GOOD, **changes}, DuplicatesCharter, "test")


def duplicates(**changes: Any) -> dict[str, Any]:
    return {**GOOD["duplicates"], **changes}


def test_each_is_compared_with_all_others_as_often_as_the_charter_says(tmp_path: Path) -> None:
    charter = parsed()
    save(tmp_path, charter, COORDINATOR)
    assert agreement.read(tmp_path / CHARTER_FILE, DuplicatesCharter) == charter
    assert charter.peers("south") == ["north", "west"]
    assert charter.duplicates.most_keys == 16 * 60
    series = charter.series("south", "compare")
    assert (series.before, series.each, series.most) == (0, 1, 2)
    assert len(charter.events("south")) == 2
    with pytest.raises(CharterError, match="stranger is not among the participants"):
        charter.peers("stranger")


def test_what_no_epsilon_covers_adds_nothing_to_one_and_is_no_secret() -> None:
    charter = parsed()
    trained = [Event("gaussian", 1.0, 2.0, 1)]
    both = accountant.epsilon([*trained, *charter.events("south")], 1e-5)
    assert both == accountant.epsilon(trained, 1e-5)
    assert "not covered by epsilon" in str(charter.noted("south")["privacy"])


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"participants": GOOD["participants"][:1]}, "none to be compared with"),
        ({"duplicates": duplicates(least=17)}, "duplicates.least"),
        ({"duplicates": duplicates(most=0)}, "duplicates.most"),
        ({"duplicates": duplicates(sessions=0)}, "duplicates.sessions"),
        ({"duplicates": duplicates(seed=2**32)}, "duplicates.seed"),
        ({"duplicates": duplicates(columns=[])}, "duplicates.columns"),
        ({"duplicates": duplicates(shingles=3)}, "duplicates.shingles"),
        ({"participants": [{**p, "rank": 2} for p in GOOD["participants"]]}, "has no adapters"),
    ],
)
def test_bad_terms_are_refused(changes: dict[str, Any], wrong: str) -> None:
    with pytest.raises(CharterError, match=wrong):
        parsed(**changes)
