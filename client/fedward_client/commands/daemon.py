"""`fedward site run`, `worker` and `status`: the standing processes, and how they are."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath

if TYPE_CHECKING:
    from fedward_client.settings import SiteSettings


def run(
    worker: Annotated[
        bool, typer.Option(help="Start the worker too; not where a unit of its own does.")
    ] = True,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Runs this site's daemon, until it is told to stop; a round that is under way finishes first."""
    from fedward_client import daemon, logs, settings

    logs.configure(settings.load(site).syslog)
    daemon.run(site.resolve(), worker)


def worker(
    runtime: Annotated[Path, typer.Option(help="The daemon's runtime folder.")] = Path("run"),
) -> None:
    """Runs what the daemon does not trust: a SuperNode for each coordinator. It needs no key."""
    import asyncio

    from fedward_client import logs
    from fedward_client import worker as workers

    logs.configure("")
    asyncio.run(workers.run(runtime.resolve()))


def status(site: SettingsPath = DEFAULT_SETTINGS) -> None:
    """Says whether this site is up, whom it is connected to, and what is wrong, if anything."""
    from fedward_client import settings
    from fedward_shared.errors import StateError

    loaded = settings.load(site)
    state = _asked(loaded)
    since = datetime.fromtimestamp(state["started"], UTC)
    typer.echo(f"{state['site']}: up since {since:%Y-%m-%d %H:%M} UTC")
    for name, contact in state["coordinators"].items():
        typer.echo(f"  {name}: {_contact(contact['last_contact'])}")
    if state["problems"]:
        raise StateError("\n  ".join(state["problems"]))
    typer.echo("  all is well")


def _contact(seconds: int) -> str:
    if not seconds:
        return "no answer yet"
    ago = datetime.now(UTC) - datetime.fromtimestamp(seconds, UTC)
    return f"answered {max(0, int(ago.total_seconds()))} s ago"


def _asked(settings: "SiteSettings") -> dict[str, Any]:
    """What the daemon says. Raises StateError if there is none."""
    import httpx

    from fedward_shared.errors import StateError

    place = settings.health_address
    try:
        address = json.loads(place.read_text("utf-8"))["health"]
        state: dict[str, Any] = httpx.get(f"http://{address}/healthz", trust_env=False).json()
    except (OSError, ValueError, KeyError, httpx.HTTPError) as error:
        raise StateError(
            f"{settings.name}: the daemon is not running ({place}); `fedward site run` starts it"
        ) from error
    return state
