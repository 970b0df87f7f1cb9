"""What a process need not import, it does not: most are started for one command or one message."""

import subprocess
import sys

COMMANDS = (
    "fedward_client.commands.site",
    "fedward_client.commands.vertical",
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

SESSION = "fedward_client.vertical.session"
MODELS = {"transformers", "peft"}
HEAVY = MODELS | {"torch", "opacus", "dp_accounting", "scipy", "sklearn", "ray", "pandas"}


def imported(*modules: str) -> set[str]:
    """What is there in a new process after these."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(told.stdout.split())


def test_what_computes_is_imported_where_something_is_computed() -> None:
    assert HEAVY & imported(*COMMANDS, *STANDING, *MESSAGE) == set()


def test_a_session_over_columns_without_texts_needs_no_language_model() -> None:
    assert MODELS & imported(SESSION) == set()


def test_a_session_over_documents_needs_nothing_that_trains() -> None:
    assert HEAVY & imported("fedward_client.sessions", "fedward_client.duplicates.session") == set()
