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
