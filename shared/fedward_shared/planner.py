"""What DP-SGD costs before anybody runs it: ε for a noise, noise for an ε, and what cannot be.

One site with N records, batches of B on average, E epochs: the sampling rate is B / N, the steps are
E · N / B, spread over the rounds. Where patients or customers are protected, N and B count these. The
ε is the ledger's own (`privacy/accountant.py`).
"""

import math
from dataclasses import dataclass

from fedward_shared import charts, formats, pages
from fedward_shared.errors import PrivacyError, UsageError
from fedward_shared.privacy import accountant
from fedward_shared.privacy.plan import CORRELATED_STEPS, Event
from fedward_shared.privacy.unit import Unit

POINTS = 8
BANDS = (5, 16)
"""At most so many bands of correlated noise are tried: the gain hardly grows beyond."""
WORTH = 0.97
"""Less error than this part of that of independent noise is worth a line."""
USEFUL_EPSILON = 50.0
FACTORS = (0.5, 0.75, 1.0, 1.5)
"""Noise multipliers that a plot shows, relative to the plan's."""


@dataclass(frozen=True)
class Plan:
    """A training of `rounds` × `local_steps` steps with sampling rate q and noise multiplier σ.

    `epsilon` is what it costs at `delta`; `wanted` is the ε that was asked for together with a σ.
    `records` and `batch` are numbers of the privacy `unit`.
    """

    records: int
    batch: float
    delta: float
    rounds: int
    local_steps: int
    noise: float
    epsilon: float
    wanted: float | None = None
    unit: Unit = "record"

    @property
    def sampling_rate(self) -> float:
        """q: the chance of a unit to be in a step."""
        return self.batch / self.records

    @property
    def steps(self) -> int:
        """All steps of a site."""
        return self.rounds * self.local_steps

    @property
    def noise_per_coordinate(self) -> float:
        """Deviation of the noise in the mean gradient of a step, in clipping norms."""
        return self.noise / self.batch

    @property
    def level_dimensions(self) -> float:
        """With so many trained numbers the noise of a step is as long as the longest mean gradient."""
        return (self.batch / self.noise) ** 2

    @property
    def possible(self) -> bool:
        """Whether σ keeps within the ε that was asked for."""
        return self.wanted is None or self.epsilon <= self.wanted

    def event(self, rounds: int, noise: float) -> Event:
        """What so many rounds with that noise do."""
        return Event("poisson-gaussian", self.sampling_rate, noise, rounds * self.local_steps)

    @property
    def steps_apart(self) -> list[int]:
        """Over how many steps of a round noise could be correlated: few, and many."""
        if self.local_steps > CORRELATED_STEPS or self.epsilon > USEFUL_EPSILON:
            return []
        fit = [
            b
            for b in range(2, max(BANDS) + 1)
            if self.local_steps % b == 0 and b * self.sampling_rate <= 1
        ]
        chosen = {max((b for b in fit if b <= most), default=1) for most in BANDS}
        return sorted(chosen - {1})

    def error_with(self, bands: int) -> float:
        """Error of the model at the same ε with correlated noise, in parts of that with independent."""
        from fedward_shared.privacy.matrix import BandedNoise

        rate, steps = bands * self.sampling_rate, self.steps // bands
        cost = (rate, steps, self.epsilon, self.delta)
        noise = accountant.noise_for(*cost, near=self.noise, tolerance=0.01)
        of_each = (BandedNoise(b, self.local_steps, self.rounds).error for b in (bands, 1))
        return noise * next(of_each) / (self.noise * next(of_each))

    def needed_noise(self) -> float:
        """The σ that the wanted ε needs. Raises PrivacyError if no noise gives it."""
        assert self.wanted is not None
        return accountant.noise_for(self.sampling_rate, self.steps, self.wanted, self.delta)


def plan(
    records: int,
    batch: float,
    epochs: float,
    delta: float,
    rounds: int = 1,
    epsilon: float | None = None,
    noise: float | None = None,
    unit: Unit = "record",
) -> Plan:
    """The plan for an ε (σ is found), for a σ (ε is computed), or for both (they are compared).

    The steps are rounded up to whole ones in every round. Raises UsageError or PrivacyError.
    """
    if epsilon is None and noise is None:
        raise UsageError("--epsilon or --sigma: give one of them, or both to compare them")
    if batch > records:
        raise UsageError(f"--batch: {batch:g} of {records} {unit}s")
    rate = batch / records
    local_steps = max(1, math.ceil(epochs / rate / rounds - 1e-9))
    steps = rounds * local_steps
    if noise is None:
        assert epsilon is not None
        noise, wanted = accountant.noise_for(rate, steps, epsilon, delta), None
    else:
        wanted = epsilon
    cost = accountant.epsilon([Event("poisson-gaussian", rate, noise, steps)], delta)
    return Plan(records, batch, delta, rounds, local_steps, noise, cost, wanted, unit)


def sentences(found: Plan) -> list[tuple[str, str]]:
    """What a person reads, each with its title."""
    told = [
        (f"{found.unit}s", f"{found.records:,}"),
        ("sampling rate", f"q = {found.sampling_rate:.4g} (batches of {found.batch:g} on average)"),
        ("steps", f"{found.rounds:,} rounds of {found.local_steps:,} = {found.steps:,}"),
        ("noise multiplier", f"σ = {found.noise:.4g}"),
        ("cost", f"ε = {found.epsilon:.4g} at δ = {found.delta:g}"),
        (
            "noise against signal",
            f"in a step's mean gradient each coordinate has noise of {found.noise_per_coordinate:.2g} "
            "clipping norms; all coordinates together are as long as the longest possible signal at "
            f"{found.level_dimensions:,.0f} trained numbers",
        ),
    ]
    told += _options(found)
    if found.delta >= 1 / found.records:
        told.append(
            (
                "warning",
                f"δ = {found.delta:g} is not below 1/N = {1 / found.records:.2g}: it would allow to "
                f"publish a {found.unit} as it is",
            )
        )
    return told


def _options(found: Plan) -> list[tuple[str, str]]:
    """Terms of a charter that would make more of the same ε."""
    told = []
    errors = {bands: found.error_with(bands) for bands in found.steps_apart}
    best = min(errors, key=errors.__getitem__, default=None)
    if best is not None and errors[best] < WORTH:
        told.append(
            (
                "correlated noise",
                f"privacy.bands = {best} leaves {errors[best]:.2f} of the noise in the model, at the "
                "same ε",
            )
        )
    if found.local_steps == 1:
        told.append(
            (
                "distributed noise",
                "with one step a round, h honest sites under masks can make the noise together: the "
                "mean of their updates then has 1/√h of what it has with noise at each site",
            )
        )
    return told


def check(found: Plan) -> None:
    """Raises PrivacyError if σ and ε were both asked for and cannot both be."""
    if found.possible:
        return
    raise PrivacyError(
        f"σ = {found.noise:g} costs ε = {found.epsilon:.4g}, not {found.wanted:g}, at δ = "
        f"{found.delta:g}: ε = {found.wanted:g} needs σ = {found.needed_noise():.4g}, fewer epochs, or "
        f"more {found.unit}s"
    )


def plot(found: Plan) -> str:
    """A page with ε over the rounds, a line for each of several noise multipliers."""
    at = sorted({max(1, round(found.rounds * i / POINTS)) for i in range(1, POINTS + 1)})
    series = []
    for place, factor in enumerate(FACTORS):
        noise = found.noise * factor
        points = tuple(
            (float(n), accountant.epsilon([found.event(n, noise)], found.delta)) for n in at
        )
        series.append(charts.Series(f"σ = {noise:.3g}", points, "dp", dash=place))
    limit = found.wanted or found.epsilon
    series.append(charts.Series(f"ε = {limit:.3g}", ((0.0, limit),), "limit", level=True))
    chart = charts.lines(
        series,
        title="ε over the rounds for several noise multipliers",
        write=formats.epsilon,
        tick=lambda value, _: f"{value:g}",
        from_zero=True,
    )
    page = pages.environment().get_template("plan.html.j2")
    return page.render(sentences=sentences(found), chart=chart)
