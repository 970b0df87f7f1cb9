"""`fedward simulate`: whole studies on one machine."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedward_shared.errors import UsageError
from fedward_shared.report import REPORT_FILE, Result, headline
from fedward_simulations.engines import ENGINES
from fedward_simulations.runs import log_into

LOG_FILE = "log.jsonl"
FULL_SIZES = (5000, 17_000)
FULL_EVALUATION = 4000
DEMO_ROUNDS = 16
VERTICAL_DATA = ("loans", "census")

simulate = typer.Typer(
    help="Run a whole study on this machine, with the code that is deployed.", no_args_is_help=True
)


@simulate.callback()
def _group() -> None:
    """Keeps `simulate NAME` a command with sub-commands whatever their number."""


@simulate.command()
def hospitals(
    out: Annotated[Path, typer.Option(help="Folder for report, result and adapter.")],
    records: Annotated[int, typer.Option(min=10, help="Records of each site.")] = 3000,
    evaluation: Annotated[int, typer.Option(min=10, help="Held-out texts to score on.")] = 2000,
    sites: Annotated[int | None, typer.Option(min=1, help="How many sites.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How many rounds (16, or 24 with --full).")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="ε of each site for the whole study.")] = 1.0,
    partition: Annotated[
        str, typer.Option(help="iid, dirichlet:ALPHA or column:NAME.")
    ] = "dirichlet:0.5",
    seed: Annotated[int, typer.Option(help="The same seed gives the same adapter.")] = 0,
    model: Annotated[Path | None, typer.Option(help="Folder of another base model.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="JSONL, CSV or Parquet instead of ICD-10.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Its column of texts.")] = "text",
    label_column: Annotated[str, typer.Option(help="Its column of labels.")] = "label",
    engine: Annotated[str, typer.Option(help=" or ".join(ENGINES) + ".")] = "in-process",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
    full: Annotated[
        bool, typer.Option("--full", help="The whole table, with 5,000 and 17,000 records a site.")
    ] = False,
    secure_aggregation: Annotated[
        bool, typer.Option("--secure-aggregation", help="Mask the updates of federated rows.")
    ] = False,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="How many sites a round needs (all that stay).")
    ] = None,
    drop: Annotated[
        int, typer.Option(min=0, help="How many sites drop out in the middle of each masked round.")
    ] = 0,
    from_raw: Annotated[
        bool, typer.Option("--from-raw", help="Prepare each site's records from a ward's files.")
    ] = False,
) -> None:
    """Four hospitals learn to code diagnoses together, under differential privacy."""
    _check(epsilon)
    _check_engine(engine)
    from fedward_simulations.raw.prepared import Prepared, prepared
    from fedward_simulations.scenarios import hospitals as hospitals_scenario

    sizes = FULL_SIZES if full and data is None else (records,)
    for count in sizes:
        folder = out if count == sizes[0] else out / f"records-{count}"
        options = hospitals_scenario.Options(
            out=folder,
            records=count,
            evaluation=FULL_EVALUATION if full else evaluation,
            sites=sites,
            rounds=rounds or (None if full else DEMO_ROUNDS),
            epsilon=epsilon,
            partition=partition,
            seed=seed,
            model=model,
            data=data,
            text_column=text_column,
            label_column=label_column,
            engine=ENGINES[engine],
            threads=threads,
            whole_table=full,
            secure_aggregation=secure_aggregation,
            threshold=threshold,
            drop=drop,
            from_raw=from_raw,
        )
        log_to(folder / LOG_FILE)
        console = Console(highlight=False, soft_wrap=True)
        own = prepared(options, console) if from_raw else Prepared({}, [])
        _tell(hospitals_scenario.run(options, console, *own), folder, console)


@simulate.command()
def notes(
    out: Annotated[Path, typer.Option(help="Folder for report, result and adapter.")],
    records: Annotated[int, typer.Option(min=10, help="Patients of each site.")] = 256,
    evaluation: Annotated[int, typer.Option(min=4, help="Held-out visits to score on.")] = 64,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many rounds.")] = None,
    epsilon: Annotated[float, typer.Option(help="ε of each site for the whole study.")] = 8.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same adapter.")] = 0,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="A tiny Llama with random weights instead of SmolLM2.")
    ] = False,
    engine: Annotated[str, typer.Option(help=" or ".join(ENGINES) + ".")] = "in-process",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Three clinics teach a language model to assess a visit, on synthetic notes."""
    _check(epsilon)
    _check_engine(engine)
    from fedward_simulations.scenarios import notes as notes_scenario

    log_to(out / LOG_FILE)
    console = Console(highlight=False, soft_wrap=True)
    options = notes_scenario.Options(
        out=out,
        records=records,
        evaluation=evaluation,
        rounds=rounds,
        epsilon=epsilon,
        seed=seed,
        tiny=tiny,
        engine=ENGINES[engine],
        threads=threads,
    )
    _tell(notes_scenario.run(options, console), out, console)


@simulate.command("bank-bureau")
def bank_bureau(
    out: Annotated[Path, typer.Option(help="Folder for report and result.")],
    data: Annotated[str, typer.Option(help=" or ".join(VERTICAL_DATA) + ".")] = "loans",
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads; more help little.")] = 1,
) -> None:
    """A bank and a bureau, with different columns about the same people, learn together."""
    from fedward_simulations.scenarios import bank_bureau as scenario

    if data not in VERTICAL_DATA:
        raise UsageError(f"--data: {data!r} is none of {', '.join(VERTICAL_DATA)}")
    log_to(out / LOG_FILE)
    console = Console(highlight=False, soft_wrap=True)
    options = scenario.Options(out=out, data=data, seed=seed, threads=threads)
    _tell(scenario.run(options, console), out, console)


@simulate.command("duplicates")
def duplicates(
    out: Annotated[Path, typer.Option(help="Folder for the result.")],
    records: Annotated[
        int, typer.Option(min=10, help="Letters, before a quarter is copied.")
    ] = 1000,
    sites: Annotated[int, typer.Option(min=2, help="How many hospitals.")] = 4,
    least: Annotated[
        int, typer.Option(min=1, max=16, help="Of 16 bands in common, from which on.")
    ] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed finds the same.")] = 0,
) -> None:
    """Four hospitals find out which of their letters are nearly another's, and show none."""
    from fedward_simulations.scenarios import duplicates as scenario

    log_to(out / LOG_FILE)
    console = Console(highlight=False, soft_wrap=True)
    scenario.run(scenario.Options(out, records, sites, least, seed), console)


@simulate.command()
def raw(
    out: Annotated[Path, typer.Option(help="New folder, for one of each hospital.")],
    records: Annotated[int, typer.Option(min=10, help="Diagnoses of each site.")] = 3000,
    sites: Annotated[int | None, typer.Option(min=1, help="How many sites.")] = None,
    partition: Annotated[str, typer.Option(help="iid or dirichlet:ALPHA.")] = "dirichlet:0.5",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    scale: Annotated[
        float, typer.Option(help="More or less of the files that hold no diagnosis.")
    ] = 1.0,
    long_line: Annotated[int, typer.Option(min=1, help="Characters of lines without an end.")] = 2
    ** 24
    + 1,
) -> None:
    """Writes the hospitals' data as it lies in a ward: files of all kinds, some damaged or hostile.

    What `simulate hospitals` trains on under the same records, sites, partition and seed is in them, and
    what a reader finds in `truth.json` beside each. `site data prepare` takes a site's `files`.
    """
    from fedward_simulations.raw import hospitals as raw_hospitals
    from fedward_simulations.raw.hospital import Size
    from fedward_simulations.scenarios.hospitals import Options

    if not (scale >= 0 and math.isfinite(scale)):
        raise UsageError(f"--scale: it is {scale}, and has to be a finite number, 0 or more")
    options = Options(out=out, records=records, sites=sites, partition=partition, seed=seed)
    for folder in raw_hospitals.write(options, Size(scale, long_line)).values():
        typer.echo(str(folder))


@simulate.command()
def statistics(
    out: Annotated[Path, typer.Option(help="Folder for figures and page.")],
    records: Annotated[int, typer.Option(min=10, help="Records of each site.")] = 3000,
    sites: Annotated[int | None, typer.Option(min=1, help="How many sites.")] = None,
    epsilon: Annotated[float, typer.Option(help="ε of each site for its one answer.")] = 0.5,
    partition: Annotated[
        str, typer.Option(help="iid, dirichlet:ALPHA or column:NAME.")
    ] = "dirichlet:0.5",
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="JSONL, CSV or Parquet instead of ICD-10.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Its column of texts.")] = "text",
    label_column: Annotated[str, typer.Option(help="Its column of labels.")] = "label",
) -> None:
    """Four hospitals tell, under DP, what their diagnoses are: label balance, lengths, drift."""
    from fedward_simulations.scenarios import statistics as scenario

    _check(epsilon)
    log_to(out / LOG_FILE)
    console = Console(highlight=False, soft_wrap=True)
    options = scenario.Options(
        out, records, sites, epsilon, partition, seed, data, text_column, label_column
    )
    scenario.run(options, console)


@simulate.command()
def faults(
    out: Annotated[Path, typer.Option(help="Folder for the result.")],
    runs: Annotated[int, typer.Option(min=1, help="How many runs.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The first run's; the others follow.")] = 0,
) -> None:
    """Small studies that are struck (parties killed, messages lost, disks full), each checked after."""
    from fedward_simulations.faults.campaign import Options, campaign

    log_to(out / LOG_FILE)
    campaign(Options(out, runs, seed), Console(highlight=False, soft_wrap=True))


def _check(epsilon: float) -> None:
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise UsageError(f"--epsilon: it is {epsilon}, and has to be a finite number above 0")


def _check_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise UsageError(f"--engine: {engine!r} is none of {', '.join(ENGINES)}")


def _tell(result: Result, folder: Path, console: Console) -> None:
    for row in result.rows:
        values = (f"{name} {value:.3f}" for name, value in row.metrics.items() if value is not None)
        console.print(f"{row.label:34} {', '.join(values)}")
    console.print(headline(result))
    console.print(str(folder / REPORT_FILE))


def log_to(path: Path) -> None:
    """Sends the log to a file, one JSON object a line, so that it does not disturb the view.

    Raises UsageError if `path` cannot be written: it is the first file in the folder of a run.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {path.parent}: cannot be written to: {error.strerror}") from error
    log_into(file)
