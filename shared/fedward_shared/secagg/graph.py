"""Who masks with whom, and how sure that is (Bell et al. 2020, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead").

The graph is a Harary graph: the cohort on a circle in an order drawn from a public seed, each beside
its degree / 2 next on either side. Secrets are shared over the closed neighbourhood: a party and its
neighbours.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import exp, inf, lgamma

from fedward_shared.errors import AggregationError, CharterError

FAILURE = 2.0**-40
"""How improbable both kinds of failure are to be."""
COMPLETE = 50
"""So many masks cost so little that nothing need be left to chance."""


@dataclass(frozen=True)
class Degree:
    """How many neighbours a party has, and how many shares give a secret back.

    `leak` bounds the probability that colluding sites and the coordinator learn more than the sum of
    all honest survivors; `failure` that honest parties who do their part cannot finish.
    """

    degree: int
    threshold: int
    leak: float
    failure: float


@dataclass(frozen=True)
class Graph:
    """The neighbourhoods of `names`; complete where `degree` is as large as that."""

    names: tuple[str, ...]
    degree: int
    seed: bytes

    @cached_property
    def _circle(self) -> list[str]:
        return sorted(
            self.names, key=lambda name: hashlib.sha256(self.seed + name.encode()).digest()
        )

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._circle)}

    @property
    def _complete(self) -> bool:
        return self.degree >= len(self.names) - 1

    def closed(self, name: str) -> list[str]:
        """`name` and its neighbours, in order of name. Raises AggregationError for a stranger."""
        if name not in self._place:
            raise AggregationError(f"{name} is not in the cohort")
        if self._complete:
            return sorted(self.names)
        reach, count = self.degree // 2, len(self.names)
        place = self._place[name]
        return sorted(self._circle[(place + d) % count] for d in range(-reach, reach + 1))

    def neighbours(self, name: str) -> list[str]:
        """The parties that `name` has a mask with, in order of name."""
        return [other for other in self.closed(name) if other != name]

    def check(self, owners: Iterable[str], survivors: Iterable[str], threshold: int) -> None:
        """That every owner's seeds can be had from survivors, and that these hang together.

        Complete graphs need no such check. Raises AggregationError that names an owner with fewer than
        `threshold` surviving neighbours (as colluding ones are fewer, every survivor has an honest one),
        or says that the survivors fall apart into groups whose sums would be seen.
        """
        if self._complete:
            return
        left = set(survivors)
        for owner in owners:
            near = left.intersection(self.neighbours(owner))
            if len(near) < threshold:
                raise AggregationError(
                    f"{len(near)} neighbours of {owner} are left, {threshold} are needed"
                )
        if not self._hangs_together(left):
            raise AggregationError("the survivors fall apart into groups that share no mask")

    def _hangs_together(self, left: set[str]) -> bool:
        """On a circle, cutting takes two gaps that no neighbourhood reaches over."""
        places = sorted(self._place[name] for name in left)
        following = [*places[1:], places[0] + len(self.names)]
        gaps = [after - place for place, after in zip(places, following, strict=True)]
        return sum(gap > self.degree // 2 for gap in gaps) <= 1


def check_terms(count: int, minimum: int, colluding: int) -> None:
    """Raises CharterError where `minimum` survivors of `count` parties do not protect the honest ones.

    With 2 minimum > count + colluding no two sets of survivors can both find `minimum` signatures,
    though each colluding party signs both; and two honest updates at least are in every sum.
    """
    if minimum > count:
        raise CharterError(f"a minimum of {minimum} survivors, and {count} parties")
    if 2 * minimum <= count + colluding:
        raise CharterError(
            f"a minimum of {minimum} survivors of {count} parties, {colluding} of them colluding: two "
            f"sets of survivors could both be signed; at least {(count + colluding) // 2 + 1} are needed"
        )
    if minimum < colluding + 2:
        raise CharterError(
            f"a minimum of {minimum} survivors, {colluding} of them colluding: the sum would show "
            "the update of the one honest site"
        )


@lru_cache(maxsize=64)
def degree_for(count: int, minimum: int, colluding: int) -> Degree:
    """The smallest degree with which leak and failure are both at most FAILURE; at most complete.

    `count` parties, of which at least `minimum` survive and at most `colluding` collude. Up to
    COMPLETE parties the graph is complete: every site with every other. Raises CharterError as
    `check_terms` does.
    """
    check_terms(count, minimum, colluding)
    for degree in range(2, count - 1, 2) if count > COMPLETE else ():
        found = with_degree(count, minimum, colluding, degree)
        if max(found.leak, found.failure) <= FAILURE:
            return found
    return Degree(count - 1, minimum, 0.0, 0.0)


def with_degree(count: int, minimum: int, colluding: int, degree: int) -> Degree:
    """The largest threshold that honest parties reach, except with probability FAILURE, and what
    colluding ones reach with it. `degree` is even; dropouts and colluding parties know no seed before
    they are what they are.
    """
    lost = count - minimum
    hits, failure = degree + 1, 0.0
    while (more := failure + count * _exactly(count - 1, lost, degree, hits - 1)) <= FAILURE:
        hits, failure = hits - 1, more
    threshold = max(degree - hits + 1, 1)
    leak = count * tail(count - 1, colluding, degree, threshold)
    return Degree(degree, threshold, leak + _cut(count, lost + colluding, degree), failure)


def tail(count: int, marked: int, drawn: int, least: int) -> float:
    """P(at least `least` of `drawn` are marked), `marked` of `count` being so: hypergeometric."""
    return sum(_exactly(count, marked, drawn, hits) for hits in range(least, drawn + 1))


def _exactly(count: int, marked: int, drawn: int, hits: int) -> float:
    ways = _log_ways(marked, hits) + _log_ways(count - marked, drawn - hits)
    return exp(ways - _log_ways(count, drawn))


def _cut(count: int, gone: int, degree: int) -> float:
    """A bound of the probability that what is left of the circle falls apart: two separate runs of
    degree / 2 places have to be empty for that, and there are count (count - 1) / 2 pairs of runs.
    """
    gone = min(gone, count)
    empty = _log_ways(count - degree, gone - degree) - _log_ways(count, gone)
    return exp(_log_ways(count, 2) + empty)


def _log_ways(count: int, drawn: int) -> float:
    """ln of the binomial coefficient."""
    if not 0 <= drawn <= count:
        return -inf
    return lgamma(count + 1) - lgamma(drawn + 1) - lgamma(count - drawn + 1)
