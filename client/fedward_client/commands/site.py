"""`fedward site`: what people at an institution do. Heavy imports wait until a command runs."""

import typer

from fedward_client.commands import (
    charters,
    daemon,
    datasets,
    enrolment,
    ledger,
    searching,
    settings,
)
from fedward_client.commands.annotation import annotation
from fedward_client.commands.audit import audit, report
from fedward_client.commands.data import data
from fedward_client.commands.duplicates import duplicates

site = typer.Typer(
    help="This institution: its charters, its privacy budget and its audit log.",
    no_args_is_help=True,
)

for command in (
    settings.init,
    settings.key,
    settings.base_models,
    enrolment.enrol,
    enrolment.renew,
    settings.rotate_key,
    datasets.register,
    charters.review,
    charters.rehearse,
    charters.approve,
    charters.refuse,
    charters.withdraw,
    searching.search,
    ledger.budget,
    ledger.recover,
    daemon.run,
    daemon.worker,
    daemon.status,
    report,
    duplicates,
):
    site.command()(command)
site.command("object")(datasets.object_)
site.add_typer(audit, name="audit")
site.add_typer(annotation, name="annotation")
site.add_typer(data, name="data")
