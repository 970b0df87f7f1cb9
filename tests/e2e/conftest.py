"""The order in which end-to-end tests are given out."""

import pytest

LONG = (
    "test_a_party_is_killed_in_the_middle_and_the_result_is_the_undisturbed_one",
    "test_two_sites_enrol_and_train_and_one_is_let_in_no_more",
    "test_a_study_survives_the_kill_of_its_superlink_and_of_its_serverapp",
    "test_a_hostile_bundle_runs_nowhere_and_the_site_goes_on",
    "test_a_site_that_is_killed_in_a_round_is_asked_again",
)
"""Minutes each, the longest first; all others take seconds."""
WORKERS = 3
"""As many as `make e2e` starts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones come first, each with a short one behind it: a worker is given two at a time, and of two
    long ones the second would wait for the first while other workers have nothing left to do."""
    long = sorted((i for i in items if i.name in LONG), key=lambda item: LONG.index(item.name))
    short = [item for item in items if item.name not in LONG]
    first = min(len(long), len(short), WORKERS)
    items[:] = [one for pair in zip(long[:first], short[:first], strict=True) for one in pair]
    items += long[first:] + short[first:]
