"""A site's books as anybody could read them: plain SQLite and JSON, without the product's code."""

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

COLUMNS = ("number", "account", "charter", "round", "request", "event", "at", "chain")
SELECT = (
    "SELECT number, account, charter, round, request, event, at, chain"
    " FROM bookings ORDER BY number"
)


def booked(state: Path) -> list[dict[str, Any]]:
    """The bookings in the ledger, read from a copy so that nothing is touched."""
    with tempfile.TemporaryDirectory() as folder:
        for path in state.glob("ledger.sqlite*"):
            shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / "ledger.sqlite")) as database:
            rows = database.execute(SELECT)
            return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def announced(log: bytes) -> list[dict[str, Any]]:
    """The bookings that the whole lines of an audit log announce."""
    bodies = [
        json.loads(line)["body"] for line in log.splitlines(keepends=True) if line[-1:] == b"\n"
    ]
    found = [body["details"]["booking"] for body in bodies if body["event"] == "reserved"]
    return [{name: booking[name] for name in COLUMNS} for booking in found]
