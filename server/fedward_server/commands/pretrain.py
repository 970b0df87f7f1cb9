"""`fedward pretrain`: the base model, at the central site. Heavy imports wait until a command runs."""

from pathlib import Path
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

Config = Annotated[Path, typer.Argument(help="The configuration, a TOML file.")]
Run = Annotated[Path, typer.Argument(help="The training's folder.")]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--folder", help="The training's folder; beside the file and named like it by default."
    ),
]


class _Commands(TyperGroup):
    """`fedward pretrain FILE` is `fedward pretrain run FILE`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


pretrain = typer.Typer(
    help="Trains the base model that studies adapt: `fedward pretrain FILE`.",
    no_args_is_help=True,
    cls=_Commands,
)


@pretrain.command()
def run(
    config: Config,
    folder: RunFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell size, memory and time, and train nothing.")
    ] = False,
    cluster: Annotated[
        list[str] | None,
        typer.Option(help="With --dry-run: cpu, or a number of devices like 8xA100-80."),
    ] = None,
) -> None:
    """Trains as the file says, from its texts to the last step; begun before, it goes on."""
    from rich.console import Console

    from fedward_server.pretraining import configuration

    terms = configuration.read(config)
    if dry_run:
        from fedward_server.pretraining import telling

        telling.plans(terms, cluster or (), Console())
        return
    from fedward_server.pretraining import running

    running.run(terms, config.parent, folder or config.with_suffix(""), Console(stderr=True))


@pretrain.command()
def resume(run: Run) -> None:
    """Goes on with a training from its newest whole checkpoint."""
    from rich.console import Console

    from fedward_server.pretraining import running

    terms, root = running.begun(run)
    running.run(terms, root, run, Console(stderr=True))


@pretrain.command()
def search(
    config: Config,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", help="The search's folder; FILE-search beside the file by default."
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="How many in all, other than the file says.")
    ] = None,
) -> None:
    """Tries settings as [search] says, and prints the best with its configuration.

    Started several times on one machine, it tries as many at once. Stopped, it goes on.
    """
    from rich.console import Console

    from fedward_server.pretraining import configuration, tuning

    terms = configuration.read(config)
    place = folder or config.with_name(f"{config.stem}-search")
    typer.echo(tuning.tune(terms, config.parent, place, Console(stderr=True), trials))


@pretrain.command()
def export(
    run: Run, out: Annotated[Path, typer.Argument(help="A new folder, for the model.")]
) -> None:
    """Writes the model after its newest checkpoint as a folder that a charter can name."""
    from fedward_server.pretraining import running

    typer.echo(f"{out}: {running.export(run, out)}")


@pretrain.command()
def init(
    preset: Annotated[str, typer.Argument(help="A preset (`fedward pretrain presets`).")],
    config: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Writes a configuration to fill in, with all that it may say."""
    from fedward_server.pretraining import beginning

    beginning.write(preset, config)
    typer.echo(f"{config}: name your texts in [[sources]], then `fedward pretrain {config}`")


@pretrain.command()
def presets(
    cluster: Annotated[
        list[str] | None, typer.Option(help="cpu, or a number of devices like 8xA100-80.")
    ] = None,
) -> None:
    """Shows the presets: parameters, memory on a device, days."""
    from rich.console import Console

    from fedward_server.pretraining import telling

    telling.presets(cluster or (), Console())


@pretrain.command()
def curves(
    runs: Annotated[list[Path], typer.Argument(help="Folders of trainings.")],
    out: Annotated[Path, typer.Option(help="The page to write.")],
) -> None:
    """Draws the curves of one training, or of several in one picture each."""
    from fedward_server.pretraining.monitoring import curves as drawing
    from fedward_server.pretraining.monitoring import diary

    drawing.write(out, {run.resolve().name: diary.read(run / diary.FILE) for run in runs})
    typer.echo(out)
