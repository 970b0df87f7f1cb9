"""Which record lies at which site."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

BALANCING_STEPS = 200
"""Of iterative proportional fitting between the sizes of the sites and those of the classes."""


@dataclass(frozen=True)
class Scheme:
    """How records are dealt to sites: `iid`, `dirichlet:ALPHA` or `column:NAME`."""

    kind: Literal["iid", "dirichlet", "column"]
    alpha: float = inf
    column: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The scheme that `text` names. Raises ValueError for any other text."""
        kind, _, argument = text.partition(":")
        if text == "iid":
            return cls("iid")
        if kind == "column" and argument:
            return cls("column", column=argument)
        if kind == "dirichlet":
            try:
                alpha = float(argument)
            except ValueError:
                alpha = 0.0
            if 0 < alpha < inf:
                return cls("dirichlet", alpha=alpha)
            raise ValueError(f"partition {text!r}: ALPHA must be a positive number")
        raise ValueError(f"partition {text!r}: must be iid, dirichlet:ALPHA or column:NAME")


def partition(
    labels: Sequence[str],
    sites: int,
    records_per_site: int | None,
    scheme: Scheme,
    seed: int,
) -> list[Indices]:
    """The indices of each site's records: disjoint, and in ascending order.

    `labels` holds one value a record: its class, or its value of the column that `scheme` names.
    Each site gets `records_per_site` records, or, for None, as many as all can have alike (of a
    column: all records with one value; the sites are in the order of the sorted values).
    Under `dirichlet:ALPHA` the proportions in which a class is dealt to the sites are drawn from a
    Dirichlet distribution with all parameters ALPHA, then balanced so that the sites are of equal
    size and together have the classes' overall frequencies: 100 is nearly iid, under 0.5 most
    classes lie at one or two sites. Raises ValueError for more than the records allow.
    """
    if sites < 1:
        raise ValueError(f"{sites} sites: there must be at least one")
    if records_per_site is not None and records_per_site < 1:
        raise ValueError(f"{records_per_site} records a site: there must be at least one")
    generator = np.random.default_rng(seed)
    names, classes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    if scheme.kind == "column":
        return _by_value(classes, names.tolist(), sites, records_per_site, scheme, generator)
    size = len(labels) // sites if records_per_site is None else records_per_site
    if size < 1 or size * sites > len(labels):
        raise ValueError(f"{len(labels)} records do not give {sites} sites {max(size, 1)} each")
    if scheme.kind == "iid":
        order = generator.permutation(len(labels))
        return [np.sort(order[site * size : (site + 1) * size]) for site in range(sites)]
    return _by_class(classes, sites, size, scheme.alpha, generator)


def _by_value(
    values: Indices,
    names: list[str],
    sites: int,
    size: int | None,
    scheme: Scheme,
    generator: np.random.Generator,
) -> list[Indices]:
    """One site a value of the column."""
    if len(names) != sites:
        raise ValueError(
            f"column {scheme.column!r} has {len(names)} values; {sites} sites need as many"
        )
    parts = [np.flatnonzero(values == value) for value in range(sites)]
    if size is None:
        return parts
    for name, part in zip(names, parts, strict=True):
        if len(part) < size:
            raise ValueError(
                f"column {scheme.column!r}: {len(part)} records with {name!r}, not {size}"
            )
    return [np.sort(generator.choice(part, size, replace=False)) for part in parts]


def _by_class(
    classes: Indices, sites: int, size: int, alpha: float, generator: np.random.Generator
) -> list[Indices]:
    """Each class is dealt to the sites in proportions of its own."""
    totals = np.bincount(classes)
    # Floored, since a tiny alpha underflows to nothing at all.
    wanted = np.maximum(generator.dirichlet(np.full(sites, alpha), len(totals)).T, 1e-12)
    for _ in range(BALANCING_STEPS):
        wanted *= totals / len(classes) * sites * size / wanted.sum(axis=0)
        wanted *= size / wanted.sum(axis=1, keepdims=True)
    pools = [
        generator.permutation(np.flatnonzero(classes == label)) for label in range(len(totals))
    ]
    parts = []
    for row in wanted:
        left = np.array([len(pool) for pool in pools])
        counts = _counts(row, left, size, generator)
        parts.append(
            np.sort(np.concatenate([pool[:n] for pool, n in zip(pools, counts, strict=True)]))
        )
        pools = [pool[n:] for pool, n in zip(pools, counts, strict=True)]
    return parts


def _counts(
    wanted: NDArray[np.float64], left: Indices, size: int, generator: np.random.Generator
) -> Indices:
    """`size` records by class, as `wanted` up to a fraction; none beyond what is `left`."""
    counts = np.minimum(np.floor(wanted).astype(np.int64), left)
    while missing := size - int(counts.sum()):
        weights = np.where(counts < left, np.maximum(wanted - counts, 0.0), 0.0)
        if weights.sum() < 1e-6:  # nothing of what the site wanted is left: it takes what there is
            weights = (left - counts).astype(np.float64)
        counts = np.minimum(counts + generator.multinomial(missing, weights / weights.sum()), left)
    return counts
