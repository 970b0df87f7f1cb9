"""What the people of a party read about a vertical study before they approve it."""

import pytest
from client.attendance.consortium import drafted

from fedward_client import review_sessions
from fedward_shared.vertical import planning

PLANS = {
    "once": planning.once(8.0, 1e-5, predictions=5),
    "every batch": planning.every_batch(8.0, 1e-5, 4, 5),
}


def read(site: str, mode: str = "once", predictions: int = 5) -> str:
    privacy = PLANS[mode].model_dump(mode="json") if mode in PLANS else None
    charter = drafted(privacy=privacy, predictions=predictions)
    return dict(review_sessions.paragraphs(charter, site))["Predictions"]


@pytest.mark.parametrize("mode", [*PLANS, "without DP"])
def test_it_says_how_often_what_and_at_which_cost(mode: str) -> None:
    said = read("bureau", mode)
    assert "5 times after the training, bank may ask about up to 1,000 people, or about" in said
    assert "of each whether they are here, which is NOT covered by ε" in said
    if mode == "without DP":
        assert "WITHOUT NOISE" in said
    else:
        assert "each time at ε = " in said


def test_whoever_asks_reads_what_its_question_tells() -> None:
    said = read("bank")
    assert "bureau, telecom then learns which of its records are asked about" in said
    assert "no column and no label leaves" in said


def test_a_study_without_predictions_says_so() -> None:
    assert read("bureau", predictions=0).startswith("None")
