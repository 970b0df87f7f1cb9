"""What SEARCH.toml may ask for, and what a trial of it is booked as."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client.searching.looked import ADAPTIVE, SELECTION
from conftest import small_charter

from fedward_client.searching import asked
from fedward_client.searching.asked import SEARCHED, SiteSearch, check, event, study, trial_plan
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import (
    AdaptiveClippingTerms,
    PrivacyTerms,
    SecureAggregationTerms,
    TrainingTerms,
)
from fedward_shared.errors import PrivacyError, UsageError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import Event

DIGEST = "sha256:" + "1" * 64
RATES = {"training.learning_rate": {"low": 0.01, "high": 1.0}}


def charter(**changes: Any) -> Charter:
    training = TrainingTerms(rounds=3, local_steps=2, learning_rate=1.0)
    privacy = PrivacyTerms(epsilon=9.0, noise_multiplier=6.0, sampling_rate=0.1)
    return small_charter(DIGEST, **{"training": training, "privacy": privacy, **changes})


def search(kind: dict[str, Any], **changed: Any) -> SiteSearch:
    return SiteSearch.model_validate({"parameters": RATES, **kind, **changed})


def test_a_trial_is_all_rounds_of_the_charter() -> None:
    trial = event(charter(), "north")
    assert trial == Event("poisson-gaussian", 0.1, 6.0, 6)
    rounds = charter().events("north")
    assert accountant.epsilon([trial], 1e-5) == accountant.epsilon(rounds, 1e-5)


@pytest.mark.parametrize("name", SEARCHED)
def test_no_setting_that_may_be_searched_changes_the_event(name: str) -> None:
    other = asked.with_settings(charter(), {name: 0.3})
    assert event(other, "north") == event(charter(), "north")
    section, _, key = name.partition(".")
    assert getattr(getattr(other, section), key) == 0.3
    plan = trial_plan(other, "north")
    assert plan.expected_batch == pytest.approx(0.8 * 0.1 * 100)


PRIVATE = {"epsilon": 9.0, "noise_multiplier": 6.0, "sampling_rate": 0.1}


def changed_plan(**fields: Any) -> Callable[[], Charter]:
    return lambda: charter(privacy=PrivacyTerms(**{**PRIVATE, **fields}))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (changed_plan(bands=2), "bands"),
        (changed_plan(adaptive_clipping=AdaptiveClippingTerms()), "adaptive_clipping"),
        (
            lambda: charter(
                privacy=PrivacyTerms(
                    mechanism="none",
                    without_dp="this study trains without differential privacy",
                    sampling_rate=0.1,
                )
            ),
            "mechanism is none",
        ),
    ],
)
def test_a_charter_with_another_event_is_refused(made: Callable[[], Charter], says: str) -> None:
    with pytest.raises(PrivacyError, match=says):
        event(made(), "north")


def test_distributed_noise_is_refused() -> None:
    training = TrainingTerms(rounds=3, local_steps=1, learning_rate=1.0)
    one = charter(training=training)
    terms = SecureAggregationTerms.model_construct(noise="distributed", colluding=1)
    with pytest.raises(PrivacyError, match="distributed"):
        event(one.model_copy(update={"secure_aggregation": terms}), "north")


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (search(ADAPTIVE, selection={"mean": 2.0}), "either 'random' with"),
        (search(SELECTION, selection=None), "either 'random' with"),
        (search(ADAPTIVE, pruner="median"), "when it has ended"),
        (
            search(SELECTION, parameters={"privacy.noise_multiplier": {"low": 1, "high": 2}}),
            "noise_multiplier cannot be searched; what can is training.learning_rate",
        ),
        (
            search(SELECTION, parameters={"training.rounds": {"low": 1, "high": 2, "whole": True}}),
            "training.rounds cannot be searched",
        ),
        (
            search(SELECTION, parameters={"privacy.adapter_share": {"low": 0.1, "high": 1.0}}),
            "adapter_share: .* less than 1",
        ),
        (
            search(SELECTION, parameters={"training.learning_rate": {"values": [0.1, "fast"]}}),
            "learning_rate: .* valid number",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused(terms: SiteSearch, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check(terms, charter())


def test_a_search_is_booked_by_all_that_it_is_but_how_long_it_goes_on() -> None:
    first = study(search(ADAPTIVE), charter())
    assert study(search(ADAPTIVE, trials=9), charter()) == first
    others = [
        study(search(SELECTION), charter()),
        study(search(ADAPTIVE), charter(study="other")),
        study(
            search(ADAPTIVE, parameters={"training.proximal": {"low": 0.1, "high": 1}}), charter()
        ),
    ]
    assert len({first, *others}) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [("trials =", "SEARCH.toml: cannot be read"), ("trials = 3", "SEARCH.toml: parameters")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "SEARCH.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=says):
        asked.read(path)
