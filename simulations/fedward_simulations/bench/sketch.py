"""What a sketch saves and costs: four hospitals code diagnoses, and a round trains a part of the head.

Accuracy and bytes for all numbers, a half, a quarter and an eighth of them, at several ε. The recipe is
the linear probe of `simulate hospitals`; with its rates as they are, each number moves in fewer rounds.
"""

import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fedward_server.observer import Observer
from fedward_shared.files import write_atomically
from fedward_simulations.bench import kept
from fedward_simulations.bench.rows import Row, spread
from fedward_simulations.consortium import Consortium
from fedward_simulations.scenarios import hospitals

SHARES = (1.0, 0.5, 0.25, 0.125)
BUDGETS: tuple[float | None, ...] = (1.0, 8.0, None)
SEEDS = 3
ROUNDS, RECORDS, EVALUATION = 16, 1000, 1000
TABLE_FILE = "table.md"


@dataclass(frozen=True)
class Measured:
    """One study: wrong answers in per cent, and bytes that sites sent."""

    share: float
    epsilon: float | None
    wrong: float
    sent: int


def run(folder: Path) -> list[Row]:
    """Runs all studies, or what is left of them: a row for bytes and one for errors with each share."""
    done = [
        _measured(folder, seed, epsilon, share)
        for seed in range(SEEDS)
        for epsilon in BUDGETS
        for share in SHARES
    ]
    write_atomically(folder / TABLE_FILE, "\n".join(table(done)).encode())
    return rows(done)


def _measured(folder: Path, seed: int, epsilon: float | None, share: float) -> Measured:
    name = f"share-{round(1000 * share)}-epsilon-{round(epsilon or 0)}-seed-{seed}"

    def measure(scratch: Path) -> dict[str, object]:
        options = hospitals.Options(
            out=scratch,
            records=RECORDS,
            evaluation=EVALUATION,
            rounds=ROUNDS,
            epsilon=epsilon or hospitals.NOISELESS_EPSILON,
            seed=seed,
            threads=1,
        )
        world = hospitals.world_of(options, hospitals.corpus_of(options))
        probe = hospitals.entries_of(options, world)[1].recipe
        recipe = replace(probe, adapter=probe.adapter.model_copy(update={"sketch": share}))
        outcome = Consortium(world, Observer()).run(name, recipe, epsilon, every_round=False)
        sent = sum(record.bytes_up for record in outcome.records)
        wrong = 100 * (1 - outcome.metrics["accuracy"])
        return asdict(Measured(share, epsilon, wrong, sent))

    return Measured(**kept.once(folder / f"{name}.json", measure))


def rows(done: list[Measured]) -> list[Row]:
    """Each share beside all numbers, at each ε."""
    found = []
    for epsilon in BUDGETS:
        budget = "without DP" if epsilon is None else f"ε = {epsilon:g}"
        whole = [m for m in done if (m.share, m.epsilon) == (1.0, epsilon)]
        for share in SHARES[1:]:
            of_it = [m for m in done if (m.share, m.epsilon) == (share, epsilon)]
            for what, unit in (("wrong", "%"), ("sent", "B")):
                ours, peer = (
                    statistics.fmean(getattr(m, what) for m in several)
                    for several in (of_it, whole)
                )
                found.append(Row(f"{budget}, share {share:g}: {what}", ours, peer, "all", unit))
    return found


def table(done: list[Measured]) -> list[str]:
    """Accuracy in per cent, mean ± deviation over seeds, and bytes that a site sends in a round."""
    lines = [
        "| ε | " + " | ".join(f"{share:g} of the numbers" for share in SHARES) + " |",
        "|---" * (len(SHARES) + 1) + "|",
    ]
    for epsilon in BUDGETS:
        cells = ["∞" if epsilon is None else f"{epsilon:g}"]
        for share in SHARES:
            right = [100 - m.wrong for m in done if (m.share, m.epsilon) == (share, epsilon)]
            cells.append(spread(right))
        lines.append(f"| {' | '.join(cells)} |")
    sent = [
        statistics.fmean(m.sent for m in done if m.share == share) / ROUNDS / len(hospitals.NAMES)
        for share in SHARES
    ]
    lines.append("| bytes | " + " | ".join(f"{value:,.0f}" for value in sent) + " |")
    return lines
