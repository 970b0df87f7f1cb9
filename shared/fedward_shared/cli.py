"""`fedward`, the one command. Each installed distribution adds its sub-commands through the entry-point
group `fedward.commands`, so that a hospital's `fedward --help` shows what a hospital has."""

import os
import sys
from importlib.metadata import entry_points, version
from typing import Annotated

import typer
from rich.console import Console

from fedward_shared.errors import FedwardError, Interrupted

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
        show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    ) -> None:
        if show_version:
            typer.echo(f"fedward {version('fedward-shared')}")
            raise typer.Exit

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        app.add_typer(entry.load(), name=entry.name)
    return app


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
