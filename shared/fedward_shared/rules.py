"""Which rules of aggregation can work together: for hostile sites, for slow ones, and with masks."""

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


def check_flow(
    rule: Rule,
    weights: str,
    sizes: tuple[int, int | None, int | None, int | None, int],
    late: str,
    masked: bool,
) -> None:
    """Raises ValueError, which says why, for a way of waiting for sites that cannot work.

    `sizes`: minimum_cohort, enough, buffer, cohort and how many participants there are.
    """
    minimum, enough, buffer, cohort, participants = sizes
    asked = participants if cohort is None else cohort
    if not minimum <= asked <= participants:
        raise ValueError(
            f"aggregation.cohort is {asked}: it is from minimum_cohort, {minimum}, to the number of "
            f"participants, {participants}"
        )
    for name, number in (("enough", enough), ("buffer", buffer)):
        if number is not None and not minimum <= number <= asked:
            raise ValueError(
                f"aggregation.{name} is {number}: it is from minimum_cohort, {minimum}, to the number "
                f"of sites that are asked, {asked}"
            )
    if masked and (enough is not None or buffer is not None or late != "drop"):
        raise ValueError(
            "aggregation.enough, buffer and late: masks cancel among the sites of one round, so an "
            "update that comes after it cannot be added to another"
        )
    if masked and cohort is not None:
        raise ValueError(
            "aggregation.cohort: a masked round asks all sites that are there; its masks tie each to "
            "neighbours among them, and the terms were checked for all"
        )
    if buffer is None:
        return
    if enough is not None or late != "drop":
        raise ValueError(
            "aggregation.buffer: it says itself when the server steps and what becomes of late updates; "
            "enough and late are for rounds"
        )
    if rule != "mean" or weights != "equal":
        raise ValueError(
            'aggregation.buffer: its updates are weighted by their age, so rule is "mean" and weights '
            'are "equal"'
        )
