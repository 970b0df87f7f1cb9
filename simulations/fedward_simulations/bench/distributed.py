"""Noise that ten hospitals make together against noise of each by itself, at the same ε.

A linear head over ICD-10-CM texts, one step a round. The learning rate of each kind of noise is chosen
among three on a seed of its own.
"""

import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from fedward_server.observer import Observer
from fedward_shared import tensors
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import AdapterTerms, SecureAggregationTerms, TrainingTerms
from fedward_shared.masked import MaskedTerms
from fedward_simulations.bench import kept
from fedward_simulations.bench.rows import Row
from fedward_simulations.consortium import Consortium, Recipe, World
from fedward_simulations.scenarios import hospitals

SITES, MINIMUM, COLLUDING = 10, 9, 1
RECORDS, EVALUATION, ROUNDS, SAMPLING_RATE = 500, 2000, 20, 0.3
EPSILON = 1.0
RATES = (2.0, 6.0, 18.0)
TUNING_SEED, SEEDS = 10, (0, 1, 2)
LOCAL, DISTRIBUTED, WITHOUT_DP = "local", "distributed", "none"
MASKS = SecureAggregationTerms(precision=16, colluding=COLLUDING, noise="distributed")


@dataclass(frozen=True)
class Measured:
    """A study's error rate, and the deviation of the noise in a coordinate of a round's mean update, in
    clipping norms over the expected batch of a site.
    """

    error: float
    noise: float


def run(folder: Path) -> list[Row]:
    """A row of noise, and one of errors on texts that nobody trained on, mean over the seeds."""
    found = {kind: _measured(folder, kind) for kind in (LOCAL, DISTRIBUTED, WITHOUT_DP)}
    means = {kind: statistics.fmean(m.error for m in of) for kind, of in found.items()}
    kept = (means[LOCAL] - means[DISTRIBUTED]) / (means[LOCAL] - means[WITHOUT_DP])
    setting = f"ε = {EPSILON:g}, {SITES} sites × {RECORDS:,} records"
    return [
        Row(
            f"noise in the mean of {SITES} sites, ε = {EPSILON:g}",
            found[DISTRIBUTED][0].noise,
            found[LOCAL][0].noise,
            "noise at each site",
            "clipping norms",
            bound=1.0,
        ),
        *(
            Row(
                f"error rate of the linear head, {setting}, mean of {len(SEEDS)} seeds",
                means[DISTRIBUTED],
                means[peer],
                name,
                "",
                bound,
            )
            for peer, name, bound in (
                (LOCAL, "noise at each site", 1.0),
                (WITHOUT_DP, "without DP", None),
            )
        ),
        Row(f"of what local noise costs, made up for, {setting}", 100 * kept, unit="%"),
    ]


def _measured(folder: Path, kind: str) -> list[Measured]:
    tried = {rate: _study(folder, kind, rate, TUNING_SEED) for rate in RATES}
    best = min(tried, key=lambda rate: tried[rate].error)
    return [_study(folder, kind, best, seed) for seed in SEEDS]


def _study(folder: Path, kind: str, rate: float, seed: int) -> Measured:
    name = f"{kind}-rate-{rate:g}-seed-{seed}"

    def measure(scratch: Path) -> dict[str, float]:
        epsilon = None if kind == WITHOUT_DP else EPSILON
        outcome = Consortium(_world(scratch, seed), Observer()).run(
            name, _recipe(kind, rate), epsilon, every_round=False
        )
        noise = _noise(outcome.study.charter, outcome.study.adapter)
        return {"error": 1 - outcome.metrics["accuracy"], "noise": noise}

    return Measured(**kept.once(folder / f"{name}.json", measure))


def _world(folder: Path, seed: int) -> World:
    options = hospitals.Options(
        out=folder,
        records=RECORDS,
        evaluation=EVALUATION,
        sites=SITES,
        partition="iid",
        seed=seed,
        threads=1,
    )
    return hospitals.world_of(options, hospitals.corpus_of(options))


def _recipe(kind: str, rate: float) -> Recipe:
    return replace(
        hospitals.PROBE,
        adapter=AdapterTerms(method="head-only"),
        training=TrainingTerms(rounds=ROUNDS, local_steps=1, learning_rate=rate),
        sampling_rate=SAMPLING_RATE,
        aggregation={"minimum_cohort": MINIMUM},
        masks=MASKS if kind == DISTRIBUTED else None,
    )


def _noise(charter: Charter, adapter: tensors.Tensors) -> float:
    """By the terms: of local noise σ / √n, of shares √n of them, in units of the ring."""
    if charter.privacy.mechanism == "none":
        return 0.0
    if charter.secure_aggregation is None:
        return float(charter.privacy.noise_multiplier / SITES**0.5)
    shares = MaskedTerms(charter, 1, tensors.schema_of(adapter)).noise
    assert shares is not None
    return float(shares.deviation / shares.scale / SITES**0.5)
