"""What a process need not import, it does not: most are started for one command or one message."""

import subprocess
import sys

COMMANDS = (
    "fedward_client.commands.site",
    "fedward_client.consent",
    "fedward_client.joining",
    "fedward_client.review",
    "fedward_server.cli",
    "fedward_server.kinds",
    "fedward_server.launching",
    "fedward_server.registrar",
)
STANDING = (
    "fedward_client.daemon",
    "fedward_client.worker",
    "fedward_server.enrolment_service",
    "fedward_server.exchange.service",
    "fedward_server.standing",
)
MESSAGE = ("fedward_client.app",)
"""Flower starts a process with it for every message, of which few ask for a training."""

HEAVY = {
    "torch",
    "transformers",
    "peft",
    "opacus",
    "dp_accounting",
    "scipy",
    "sklearn",
    "ray",
    "pandas",
}


def test_what_computes_is_imported_where_something_is_computed() -> None:
    modules = ", ".join((*COMMANDS, *STANDING, *MESSAGE))
    code = f"import sys, {modules}; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(told.stdout.split()) == set()
