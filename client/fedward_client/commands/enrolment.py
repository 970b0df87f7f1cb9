"""`fedward site enrol` and `renew`: how this institution gets and keeps its way to a coordinator."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fedward_client.commands.options import DEFAULT_SETTINGS, SettingsPath


def enrol(
    invitation: Annotated[Path, typer.Argument(help="The file that the coordinator has sent.")],
    fingerprint: Annotated[
        str | None,
        typer.Option(help="The coordinator's fingerprint, as its people told it by telephone."),
    ] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Enrols with a coordinator: keys are made here, and its certificate for them is kept."""
    from fedward_client import joining, settings

    loaded = settings.load(site)
    read = joining.read(invitation)
    typer.echo(f"coordinator {read.coordinator}, at {read.address}")
    typer.echo(f"key: {read.key}")
    typer.echo(f"fingerprint: {read.signer.fingerprint}")
    joining.check(read, loaded, datetime.now(UTC))
    if fingerprint is None:
        typer.echo("Compare it with what the coordinator's people say by telephone.")
        fingerprint = typer.prompt("Type the fingerprint that they said")
    joining.check_fingerprint(read, fingerprint)
    made = joining.enrol(read, loaded)
    until = made.current.not_valid_after_utc
    typer.echo(f"enrolled; certificate until {until:%Y-%m-%d}, in {made.certificate.parent}")


def renew(
    coordinator: Annotated[
        str | None, typer.Argument(help="A coordinator; by default all, where it is time.")
    ] = None,
    site: SettingsPath = DEFAULT_SETTINGS,
) -> None:
    """Renews the certificate of a coordinator now, or every one that is past two thirds of its time."""
    from fedward_client import memberships, settings
    from fedward_shared.errors import UsageError

    found = memberships.all_of(settings.load(site))
    if coordinator is not None:
        found = [one for one in found if one.coordinator == coordinator]
        if not found:
            raise UsageError(f"{coordinator}: this site is not enrolled with it")
    now = datetime.now(UTC)
    for one in found:
        if coordinator is not None:
            memberships.renew(one, now)
            done = True
        else:
            done = memberships.renew_if_due(one, now)
        until = one.current.not_valid_after_utc
        typer.echo(f"{one.coordinator}: {'renewed' if done else 'not due'}, until {until:%Y-%m-%d}")
