"""What takes the mean's place where some sites may be hostile and nothing is masked.

    median             of each coordinate                                                      [1]
    trimmed-mean       of each coordinate, without the f largest and the f smallest            [1]
    krum               the update that is nearest to its n - f - 2 nearest                     [2]
    multi-krum         the mean of the n - f - 2 updates that are                              [2]
    geometric-median   the point with the least sum of distances, by smoothed Weiszfeld steps  [3]
    norm-filter        the mean without the f longest                                          [4]

[1] Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates";
[2] Blanchard et al. 2017, "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent";
[3] Pillutla, Kakade and Harchaoui 2022, "Robust Aggregation for Federated Learning";
[4] Gupta and Vaidya 2019, "Byzantine Fault Tolerant Distributed Linear Regression".

Each is a function of the updates as a set: they are read in the order of the sites' names, whatever
order they came in. A rule sees a piece of all updates at a time, [S, P] in double precision, or their
distances alone, [S, S].
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from fedward_server.layout import Layout, Row, check_norm
from fedward_shared.errors import StateError
from fedward_shared.tensors import Tensors

PIECE_NUMBERS = 2**20
"""Of all sites together, in memory at once: 8 MB, whatever the number of sites."""

WEISZFELD_STEPS = 2000
"""Most take a few dozen; where the median is at an update, or nearly, they get slower and slower."""
SETTLED = 1e-9
SMOOTHING = 1e-6
"""Of the geometric median: no distance counts for less than this part of the typical one."""

Numbers = NDArray[np.float64]

log = structlog.get_logger()


class Spool:
    """The updates of one round, as files in `folder`, until the charter's rule makes one of them.

    What an interrupted round has left there is removed.
    """

    def __init__(self, layout: Layout, bound: float, rule: str, hostile: int, folder: Path) -> None:
        self._layout = layout
        self._bound = bound
        self._rule = rule
        self._hostile = hostile
        self._folder = folder
        self._sites: list[str] = []
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    def add(self, site: str, row: Row, weight: int) -> None:
        """Keeps the update of `site`; rules have no weights.

        Raises AdapterError for one that is not finite or beyond the bound, StateError where it cannot be
        written.
        """
        del weight
        check_norm(row, self._bound, f"update of {site}")
        path = self._folder / site
        try:
            path.write_bytes(row.data)
        except OSError as error:
            raise StateError(
                f"{path}: cannot be written: {error.strerror}; make room, then resume the study"
            ) from error
        self._sites.append(site)

    def mean(self) -> Tensors:
        """What the rule makes of the updates, float32."""
        names = sorted(self._sites)
        rows = [np.memmap(self._folder / name, np.float32, mode="r") for name in names]
        found = np.empty(self._layout.size, np.float32)
        if self._rule in COORDINATEWISE:
            one = COORDINATEWISE[self._rule]
            for piece in _pieces(rows):
                found[piece] = one(_stack(rows, piece), self._hostile)
        else:
            shares = CHOOSING[self._rule](_squares(rows), _norms(rows), self._hostile)
            log.info(self._rule, shares=dict(zip(names, shares.round(4).tolist(), strict=True)))
            for piece in _pieces(rows):
                found[piece] = shares @ _stack(rows, piece)
        del rows
        shutil.rmtree(self._folder)
        return self._layout.named(found)


def _pieces(rows: Sequence[Row]) -> Iterator[slice]:
    step = max(1, PIECE_NUMBERS // len(rows))
    return (slice(i, i + step) for i in range(0, rows[0].size, step))


def _stack(rows: Sequence[Row], piece: slice) -> Numbers:
    return np.stack([row[piece] for row in rows]).astype(np.float64)


def _norms(rows: Sequence[Row]) -> Numbers:
    total = np.zeros(len(rows))
    for piece in _pieces(rows):
        total += np.square(_stack(rows, piece)).sum(axis=1)
    return np.sqrt(total)


def _squares(rows: Sequence[Row]) -> Numbers:
    """Squared distances between all updates, [S, S]."""
    total = np.zeros((len(rows), len(rows)))
    for piece in _pieces(rows):
        content = _stack(rows, piece)
        for i in range(len(rows)):
            total[i] += np.square(content - content[i]).sum(axis=1)
    return total


def median(content: Numbers, hostile: int) -> Numbers:
    """Of each coordinate, over the sites of [S, P]."""
    del hostile
    found: Numbers = np.median(content, axis=0)
    return found


def trimmed_mean(content: Numbers, hostile: int) -> Numbers:
    """Of each coordinate, without its `hostile` largest and smallest values."""
    found: Numbers = np.sort(content, axis=0)[hostile : len(content) - hostile].mean(axis=0)
    return found


def krum(squares: Numbers, norms: Numbers, hostile: int) -> Numbers:
    """All to the update that is nearest to its nearest; of two the first by name."""
    del norms
    shares = np.zeros(len(squares))
    shares[np.argmin(_scores(squares, hostile))] = 1.0
    return shares


def multi_krum(squares: Numbers, norms: Numbers, hostile: int) -> Numbers:
    """Equal shares to the n - f - 2 updates with the best scores."""
    del norms
    count = len(squares) - hostile - 2
    return _equal(np.argsort(_scores(squares, hostile), kind="stable")[:count], len(squares))


def norm_filter(squares: Numbers, norms: Numbers, hostile: int) -> Numbers:
    """Equal shares to all but the `hostile` longest."""
    del squares
    return _equal(np.argsort(norms, kind="stable")[: len(norms) - hostile], len(norms))


def geometric_median(squares: Numbers, norms: Numbers, hostile: int) -> Numbers:
    """The shares whose mean has the least sum of distances to all updates.

    The distance of a mean z = Σ cᵢ xᵢ to an update follows from those between updates:
    ‖xᵢ - z‖² = Σⱼ cⱼ dᵢⱼ² - ½ Σⱼₖ cⱼ cₖ dⱼₖ². So an iteration costs S², and no look at the updates.
    """
    del norms, hostile
    count = len(squares)
    shares = np.full(count, 1.0 / count)
    least = SMOOTHING * float(np.sqrt(squares.mean())) or 1.0
    for _ in range(WEISZFELD_STEPS):
        near = squares @ shares
        distances = np.sqrt(np.maximum(near - 0.5 * shares @ near, 0.0))
        weights = 1.0 / np.maximum(distances, least)
        before, shares = shares, weights / weights.sum()
        if np.abs(shares - before).max() < SETTLED:
            break
    return shares


def _scores(squares: Numbers, hostile: int) -> Numbers:
    """Sum of squared distances to the n - f - 2 nearest others; a site's distance to itself is first."""
    nearest = np.sort(squares, axis=1)[:, 1 : len(squares) - hostile - 1]
    scores: Numbers = nearest.sum(axis=1)
    return scores


def _equal(chosen: NDArray[np.intp], count: int) -> Numbers:
    shares = np.zeros(count)
    shares[chosen] = 1.0 / len(chosen)
    return shares


COORDINATEWISE: dict[str, Callable[[Numbers, int], Numbers]] = {
    "median": median,
    "trimmed-mean": trimmed_mean,
}
CHOOSING: dict[str, Callable[[Numbers, Numbers, int], Numbers]] = {
    "krum": krum,
    "multi-krum": multi_krum,
    "geometric-median": geometric_median,
    "norm-filter": norm_filter,
}
