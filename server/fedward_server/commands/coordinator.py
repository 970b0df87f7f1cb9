"""`fedward coordinator`: a coordinator's home, who may come in, and its standing process."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

coordinator = typer.Typer(help="This institution as a coordinator.", no_args_is_help=True)

HomeFolder = Annotated[
    Path, typer.Option("--home", help="The coordinator's home, with coordinator.toml in it.")
]
SiteName = Annotated[str, typer.Argument(help="The site's name in charters.")]
HERE = Path()


@coordinator.command()
def init(
    name: Annotated[str, typer.Option(help="This institution's name in charters.")],
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where sites will reach this coordinator.")
    ],
    home: HomeFolder = HERE,
    superlink_port: Annotated[int, typer.Option(help="A free port, used on loopback only.")] = 9091,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line protects the authority's key.")
    ] = None,
) -> None:
    """Makes the home of a coordinator: settings, signing key, authority. Never over what is there."""
    from fedward_server import coordinator as homes

    made = homes.create(home, name, address, superlink_port, passphrase_file)
    public = made.key().public
    typer.echo(f"wrote {made.folder}: keep it, and keep it secret")
    typer.echo(f"key of {made.name}: {public.text}")
    typer.echo(f"fingerprint, to compare by telephone: {public.fingerprint}")


@coordinator.command()
def invite(
    site: SiteName,
    out: Annotated[Path, typer.Option(help="The file to write, for the site's people.")],
    key: Annotated[
        str, typer.Option(help="The site's key, if you have it: nobody else can enrol then.")
    ] = "",
    days: Annotated[int, typer.Option(min=1, max=90, help="How long it is good for.")] = 7,
    home: HomeFolder = HERE,
) -> None:
    """Writes an invitation with which one site can enrol once."""
    from pydantic import TypeAdapter, ValidationError

    from fedward_server.coordinator import Home
    from fedward_server.registrar import Registrar
    from fedward_shared.errors import UsageError
    from fedward_shared.files import write_atomically
    from fedward_shared.identity import PublicKey
    from fedward_shared.terms import Name, describe

    try:
        TypeAdapter(Name).validate_python(site)
    except ValidationError as error:
        raise UsageError(f"{site}: {describe(error)}") from error
    if out.exists():
        raise UsageError(f"{out}: is there already and was left as it is")
    registrar = Registrar(Home(home))
    try:
        pinned = PublicKey(key).text if key else ""
        invitation = registrar.invite(site, pinned, timedelta(days=days))
        write_atomically(out, registrar.signed(invitation), mode=0o600)
    finally:
        registrar.close()
    typer.echo(f"wrote {out}, good until {invitation.expires:%Y-%m-%d %H:%M} UTC, once")
    typer.echo(f"send it to {site}; there: fedward site enrol {out.name}")
    typer.echo("and tell its people this fingerprint by telephone, not in the same mail:")
    typer.echo(f"  {invitation.signer.fingerprint}")


@coordinator.command()
def sites(home: HomeFolder = HERE) -> None:
    """Lists the sites that were admitted: key, fingerprint, certificate, whether revoked."""
    from fedward_server.coordinator import Home
    from fedward_server.registrar import Registrar

    registrar = Registrar(Home(home))
    try:
        for one in registrar.state.sites:
            certificate = f"certificate until {one.certificate.not_valid_after_utc:%Y-%m-%d}"
            renewed = f"renewed {one.renewed_at:%Y-%m-%d}" if one.renewed_at else "never renewed"
            revoked = f"revoked {one.revoked_at:%Y-%m-%d}, " if one.revoked_at else ""
            typer.echo(f"{one.site}: {revoked}admitted {one.at:%Y-%m-%d}, {certificate}, {renewed}")
            typer.echo(f"  key {one.key}")
            typer.echo(f"  fingerprint {one.fingerprint}")
        for waiting in registrar.state.invited.values():
            typer.echo(f"{waiting.site}: invited, until {waiting.expires:%Y-%m-%d %H:%M} UTC")
    finally:
        registrar.close()


@coordinator.command()
def revoke(site: SiteName, home: HomeFolder = HERE) -> None:
    """Lets a site in no more, from its next connection on."""
    from fedward_server import proxy
    from fedward_server.authority import CA_FILE
    from fedward_server.coordinator import Home
    from fedward_server.registrar import Registrar
    from fedward_server.superlink import SuperLink, UnreachableError

    opened = Home(home)
    registrar = Registrar(opened)
    try:
        registrar.revoke(site)
        typer.echo(f"{site}: revoked")
        running = proxy.reload(opened)
        typer.echo("the proxy refuses its certificates" if running else "no proxy is running here")
        try:
            for event in registrar.settle(
                SuperLink(opened.superlink_address, opened.authority / CA_FILE)
            ):
                typer.echo(f"superlink: {event}")
        except UnreachableError:
            typer.echo("no SuperLink is running here; it will be told when it starts")
    finally:
        registrar.close()


@coordinator.command()
def proxy_config(home: HomeFolder = HERE) -> None:
    """Writes the configuration of the proxy, as `run` does, for who wants to read it or run it apart."""
    from fedward_server import proxy
    from fedward_server.coordinator import Home

    opened = Home(home)
    path = proxy.write_configuration(opened)
    typer.echo(f"wrote {path}")
    typer.echo(" ".join(proxy.command(opened)))


@coordinator.command()
def run(home: HomeFolder = HERE) -> None:
    """Runs the coordinator: SuperLink, SuperExec, enrolment and proxy, until it is told to stop."""
    from fedward_server import standing
    from fedward_server.coordinator import Home

    standing.run(Home(home), standing.stamped(typer.echo), standing.until_signalled())
