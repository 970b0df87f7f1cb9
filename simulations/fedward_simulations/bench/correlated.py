"""Noise that is correlated over the steps of a round against independent noise, at the same ε.

What is compared is the error of the model, noise multiplier times the error of the strategy, and beside
it that of noise that would be correlated over the whole study, which is not built; and then a training.
"""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fedward_server.observer import Observer
from fedward_shared.charter_terms import AdapterTerms, TrainingTerms
from fedward_shared.privacy import accountant
from fedward_shared.privacy.matrix import BandedNoise
from fedward_simulations.bench import kept
from fedward_simulations.bench.rows import Row
from fedward_simulations.consortium import Consortium, Recipe
from fedward_simulations.scenarios import hospitals

ROUNDS, STEPS = 20, 10
SITES = {5_000: (250, 1e-5), 50_000: (1_000, 1e-6), 500_000: (4_000, 1e-7)}
"""Records → batch, δ."""
EPSILONS = (1.0, 3.0, 8.0)
BANDS = (2, 5, 10)

TRAINED_EPSILONS = (1.0, 8.0)
TRAINED_BANDS, TRAINED_RATE = 5, 0.05
RECORDS, EVALUATION = 5_000, 4_000
LEARNING_RATES = (1.0, 3.0, 9.0)
TUNING_SEED, SEEDS = 10, (0, 1, 2)


def run(folder: Path) -> list[Row]:
    """Two rows for each number of records and ε, and one for each ε of a training."""
    return [*_expected(), *_trained(folder)]


def _expected() -> Iterator[Row]:
    for records, (batch, delta) in SITES.items():
        for epsilon in EPSILONS:
            errors = {b: _error(batch / records, b, epsilon, delta) for b in (1, *BANDS)}
            best = min(BANDS, key=errors.__getitem__)
            name = f"{records:,} records, batches of {batch:,}, ε = {epsilon:g}"
            bound = 1.0 if records >= 50_000 and epsilon >= 3 else None
            yield Row(
                f"{name}, {best} bands", errors[best], errors[1], "independent noise", "C", bound
            )
            whole = _error(batch / records, best, epsilon, delta, whole_study=True)
            yield Row(f"{name}, {best} bands", errors[best], whole, "over the whole study", "C")


def _error(
    rate: float, bands: int, epsilon: float, delta: float, whole_study: bool = False
) -> float:
    """Of a coordinate of the model, summed gradients, in clipping norms: root of its mean square."""
    noise = accountant.noise_for(bands * rate, ROUNDS * STEPS // bands, epsilon, delta)
    steps, rounds = (ROUNDS * STEPS, 1) if whole_study else (STEPS, ROUNDS)
    return noise * BandedNoise(bands, steps, rounds).error


def _trained(folder: Path) -> Iterator[Row]:
    for epsilon in TRAINED_EPSILONS:
        errors = {}
        for bands in (1, TRAINED_BANDS):
            tried = {r: _study(folder, bands, epsilon, r, TUNING_SEED) for r in LEARNING_RATES}
            best = min(tried, key=tried.__getitem__)
            errors[bands] = statistics.fmean(
                _study(folder, bands, epsilon, best, seed) for seed in SEEDS
            )
        yield Row(
            f"error rate of a linear head, a site of {RECORDS:,} records, ε = {epsilon:g}, "
            f"{TRAINED_BANDS} bands, mean of {len(SEEDS)} seeds",
            errors[TRAINED_BANDS],
            errors[1],
            "independent noise",
            "",
        )


def _study(folder: Path, bands: int, epsilon: float, rate: float, seed: int) -> float:
    """The error rate on texts that nobody trained on; from its file where it was measured before."""
    name = f"bands-{bands}-epsilon-{epsilon:g}-rate-{rate:g}-seed-{seed}"

    def measure(scratch: Path) -> float:
        options = hospitals.Options(
            out=scratch,
            records=RECORDS,
            evaluation=EVALUATION,
            sites=1,
            partition="iid",
            seed=seed,
            threads=1,
        )
        world = hospitals.world_of(options, hospitals.corpus_of(options))
        outcome = Consortium(world, Observer()).run(
            name, _recipe(bands, rate), epsilon, every_round=False
        )
        return 1 - outcome.metrics["accuracy"]

    return float(kept.once(folder / f"{name}.json", measure))


def _recipe(bands: int, rate: float) -> Recipe:
    return replace(
        hospitals.PROBE,
        adapter=AdapterTerms(method="head-only"),
        training=TrainingTerms(rounds=ROUNDS, local_steps=STEPS, learning_rate=rate),
        sampling_rate=TRAINED_RATE,
        server_optimizer="fedavg",
        server_momentum=0.0,
        name_length=0.0,
        privacy={"bands": bands},
    )
