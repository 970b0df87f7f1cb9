"""Which rules of aggregation can work, with so many sites, so many of them hostile, and with masks."""

from typing import Literal, get_args

Rule = Literal[
    "mean", "median", "trimmed-mean", "krum", "multi-krum", "geometric-median", "norm-filter"
]
RULES: tuple[Rule, ...] = get_args(Rule)


def check(rule: Rule, hostile: int, cohort: int, weights: str, masked: bool) -> None:
    """Raises ValueError, which says why, for a rule that cannot work with `hostile` of `cohort` sites.

    `cohort`: how many sites a round may have at least. The bounds on f of n: Blanchard et al. 2017 for
    Krum; the others need an honest majority.
    """
    if rule == "mean":
        if hostile:
            raise ValueError(
                f"aggregation.hostile: a mean follows a single hostile site; with {hostile} of them, "
                f"rule is one of {', '.join(RULES[1:])}"
            )
        return
    if masked:
        raise ValueError(
            f"aggregation.rule: {rule} compares updates, and of masked ones the coordinator sees "
            "nothing but the sum"
        )
    if hostile < 1:
        raise ValueError(
            f"aggregation.hostile: {rule} has to know how many sites may be: 1 or more"
        )
    if weights != "equal":
        raise ValueError(
            f'aggregation.weights: {rule} counts sites, so they are "equal"; weight would make a '
            "majority of a minority"
        )
    least = 2 * hostile + (3 if rule in ("krum", "multi-krum") else 1)
    if cohort < least:
        raise ValueError(
            f"aggregation.hostile: {rule} bears {hostile} hostile sites in a round of {least} or more; "
            f"minimum_cohort is {cohort}"
        )
