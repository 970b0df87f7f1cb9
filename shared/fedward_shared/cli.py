"""`fedward`, the one command. Each installed distribution adds its sub-commands through the entry-point
group `fedward.commands`, so that a hospital's `fedward --help` shows what a hospital has."""

import math
import os
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedward_shared.errors import FedwardError, Interrupted, UsageError
from fedward_shared.privacy.unit import Unit

GROUP = "fedward.commands"

# Flower asks a server for updates and sends usage figures unless it is told not to; models are never
# looked up in a hub. All of it is read when those packages are imported, which comes later.
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def build() -> typer.Typer:
    """The command with the sub-commands of what is installed."""
    app = typer.Typer(
        name="fedward",
        help="Train one model across institutions that may not pool their data.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root(
        show_version: Annotated[
            bool,
            typer.Option(
                "--version", help="Show the version.", is_eager=True, callback=_tell_version
            ),
        ] = False,
    ) -> None:
        """The version is told before a command is looked for."""

    app.command()(plan)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        loaded = entry.load()
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=entry.name)
        else:
            app.command(entry.name)(loaded)
    return app


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedward {version('fedward-shared')}")
        raise typer.Exit


def plan(
    records: Annotated[int, typer.Option(min=1, help="Records of the site, or its --unit.")],
    batch: Annotated[float, typer.Option(min=1, help="How many are in a step, on average.")],
    epochs: Annotated[float, typer.Option(help="How often each is used, on average.")],
    delta: Annotated[float, typer.Option(help="δ.")] = 1e-5,
    epsilon: Annotated[float | None, typer.Option(help="The ε to keep within.")] = None,
    sigma: Annotated[float | None, typer.Option(help="The noise multiplier σ.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to spread the steps over.")] = 1,
    unit: Annotated[Unit, typer.Option(help="What --records and --batch count.")] = "record",
    plot: Annotated[
        Path | None, typer.Option(help="An HTML page to write: ε over rounds and σ.")
    ] = None,
) -> None:
    """Says what a private training costs: σ for an ε, ε for a σ, and whether both can be."""
    from rich.table import Table

    from fedward_shared import planner
    from fedward_shared.files import write_atomically

    for name, value in (("--epochs", epochs), ("--epsilon", epsilon), ("--sigma", sigma)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise UsageError(f"{name}: it is {value}, and has to be a finite number above 0")
    found = planner.plan(records, batch, epochs, delta, rounds, epsilon, sigma, unit)
    table = Table(show_header=False, box=None)
    for title, text in planner.sentences(found):
        table.add_row(title, text)
    Console(highlight=False).print(table)
    if plot is not None:
        write_atomically(plot, planner.plot(found).encode())
        typer.echo(str(plot))
    planner.check(found)


def main() -> None:
    """Runs the command. An error that fedward knows is one message and its exit code."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        build()(standalone_mode=True)
    except FedwardError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"fedward: {error}", style="red", markup=False, highlight=False
        )
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as end:
        # Within a command Typer makes of Ctrl-C an exit with this code, and says nothing.
        if isinstance(end, SystemExit) and end.code != Interrupted.exit_code:
            raise
        print("fedward: interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(Interrupted.exit_code)


if __name__ == "__main__":
    main()
