"""The recipe of `simulate hospitals` against the linear probe and a site alone: the same split, sites
and budget, seed by seed. `python -m fedward_simulations.bench.recipe OUT` goes on where it stopped.
"""

import json
import statistics
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from scipy.stats import t as student_t

from fedward_server.observer import Observer
from fedward_shared.files import write_atomically
from fedward_simulations.cli import log_to
from fedward_simulations.consortium import Consortium
from fedward_simulations.scenarios import hospitals

PEERS = ("probe-dp", "alone")
CONFIDENCE = 0.95
RESULT_FILE = "paired.json"


@dataclass(frozen=True)
class Paired:
    """What one seed gave at one ε: macro-F1 and accuracy of each row."""

    seed: int
    epsilon: float
    rows: dict[str, dict[str, float]]


def measure(options: hospitals.Options) -> Paired:
    """Runs federated-dp, probe-dp and one site alone, another with each seed, or what is left."""
    world = hospitals.world_of(options, hospitals.corpus_of(options))
    consortium = Consortium(world, Observer())
    rows = {}
    for entry in hospitals.entries_of(options, world):
        study, sites = entry.name, world.sites
        if entry.name == "alone":
            name = list(sites)[options.seed % len(sites)]
            study, sites = f"alone-{name}", {name: sites[name]}
        outcome = consortium.run(study, entry.recipe, entry.epsilon, sites, every_round=False)
        rows[entry.name] = {name: outcome.metrics[name] for name in ("macro_f1", "accuracy")}
    return Paired(options.seed, options.epsilon, rows)


def measure_all(several: list[hospitals.Options]) -> list[Paired]:
    """`measure` of each, in this process: studies on the same texts encode them once."""
    log_to(several[0].out.parent / f"log-{several[0].seed}.jsonl")
    return [measure(options) for options in several]


def interval(differences: list[float]) -> tuple[float, float]:
    """Mean of paired differences and half the width of its 95 % interval (Student's t)."""
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return mean, float("inf")
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return mean, float(student_t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * error


def lines(found: list[Paired]) -> list[str]:
    """A Markdown table of means and paired differences, one line for each ε and measure."""
    table = [
        "| ε | measure | federated DP-LoRA | DP probe | difference | alone | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for epsilon in sorted({paired.epsilon for paired in found}):
        of_it = [paired for paired in found if paired.epsilon == epsilon]
        for measure_name in ("macro_f1", "accuracy"):
            ours = [paired.rows["federated-dp"][measure_name] for paired in of_it]
            cells = [f"{epsilon:g}", measure_name, f"{statistics.fmean(ours):.4f}"]
            for peer in PEERS:
                theirs = [paired.rows[peer][measure_name] for paired in of_it]
                mean, half = interval([a - b for a, b in zip(ours, theirs, strict=True)])
                cells += [f"{statistics.fmean(theirs):.4f}", f"{mean:+.4f} ± {half:.4f}"]
            table.append(f"| {' | '.join(cells)} |")
    return table


def main(
    out: Path,
    seeds: Annotated[int, typer.Option(min=1)] = 9,
    epsilon: Annotated[list[float] | None, typer.Option()] = None,
    records: Annotated[int, typer.Option(min=10)] = 5000,
    evaluation: Annotated[int, typer.Option(min=10)] = 4000,
    processes: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """A process for each seed and a thread for each process, `processes` of them at a time."""
    jobs = [
        [
            hospitals.Options(
                out=out / f"seed-{seed}-epsilon-{budget:g}",
                records=records,
                evaluation=evaluation,
                epsilon=budget,
                seed=seed,
                threads=1,
            )
            for budget in epsilon or [1.0, 3.0, 8.0]
        ]
        for seed in range(seeds)
    ]
    found: list[Paired] = []
    with (
        Progress(console=Console()) as progress,
        get_context("spawn").Pool(processes, maxtasksperchild=1) as pool,
    ):
        task = progress.add_task("seeds", total=seeds)
        for measured in pool.imap_unordered(measure_all, jobs):
            found += measured
            found.sort(key=lambda paired: (paired.seed, paired.epsilon))
            content = [vars(paired) for paired in found]
            write_atomically(out / RESULT_FILE, json.dumps(content, indent=1).encode())
            progress.advance(task)
    print("\n".join(lines(found)))


if __name__ == "__main__":
    typer.run(main)
