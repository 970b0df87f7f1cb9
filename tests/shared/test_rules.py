"""Rules that cannot work are refused, and it is said why."""

import pytest

from fedward_shared import rules
from fedward_shared.rules import RULES, Rule


@pytest.mark.parametrize("rule", RULES[1:])
def test_a_rule_works_from_its_least_cohort_on(rule: Rule) -> None:
    for hostile in (1, 2, 5):
        least = 2 * hostile + (3 if "krum" in rule else 1)
        rules.check(rule, hostile, least, "equal", masked=False)
        with pytest.raises(ValueError, match=f"a round of {least} or more"):
            rules.check(rule, hostile, least - 1, "equal", masked=False)


def test_a_mean_works_with_weights_and_masks_and_trusts_everybody() -> None:
    rules.check("mean", 0, 1, "declared-records", masked=True)
    with pytest.raises(ValueError, match="follows a single hostile site"):
        rules.check("mean", 1, 10, "equal", masked=False)


@pytest.mark.parametrize("rule", RULES[1:])
@pytest.mark.parametrize(
    ("hostile", "weights", "masked", "why"),
    [
        (1, "equal", True, "nothing but the sum"),
        (0, "equal", False, "1 or more"),
        (1, "declared-records", False, "counts sites"),
    ],
)
def test_what_a_rule_cannot_do_is_said(
    rule: Rule, hostile: int, weights: str, masked: bool, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        rules.check(rule, hostile, 100, weights, masked)


@pytest.mark.parametrize(
    ("sizes", "late", "why"),
    [
        ((3, None, None, 2, 9), "drop", "cohort is 2: it is from minimum_cohort, 3"),
        ((3, None, None, 10, 9), "drop", "participants, 9"),
        ((3, 2, None, None, 9), "drop", "enough is 2"),
        ((3, 6, None, 5, 9), "drop", "sites that are asked, 5"),
        ((3, None, 2, None, 9), "drop", "buffer is 2"),
        ((3, None, 6, 5, 9), "drop", "buffer is 6"),
        ((3, 4, 4, None, 9), "drop", "enough and late are for rounds"),
        ((3, None, 4, None, 9), "next-round", "enough and late are for rounds"),
    ],
)
def test_a_round_waits_for_no_fewer_than_its_minimum_and_no_more_than_it_asks(
    sizes: tuple[int, int | None, int | None, int | None, int], late: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        rules.check_flow("mean", "equal", sizes, late, masked=False)


def test_masks_have_no_use_for_late_updates_and_weights_by_age_none_for_others() -> None:
    plain, enough, buffer = (3, None, None, 6, 9), (3, 4, None, 6, 9), (3, None, 4, 6, 9)
    rules.check_flow("mean", "equal", (3, None, None, None, 9), "drop", masked=True)
    with pytest.raises(ValueError, match="a masked round asks all"):
        rules.check_flow("mean", "equal", plain, "drop", masked=True)
    rules.check_flow("median", "equal", enough, "next-round", masked=False)
    rules.check_flow("mean", "equal", buffer, "drop", masked=False)
    for sizes, late in ((enough, "drop"), (buffer, "drop"), (plain, "next-round")):
        with pytest.raises(ValueError, match="masks cancel"):
            rules.check_flow("mean", "equal", sizes, late, masked=True)
    with pytest.raises(ValueError, match="weighted by their age"):
        rules.check_flow("median", "equal", buffer, "drop", masked=False)
    with pytest.raises(ValueError, match="weighted by their age"):
        rules.check_flow("mean", "declared-records", buffer, "drop", masked=False)
