"""The audit log from the command line: an auditor needs the file and the public key alone."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import key_of
from typer.testing import CliRunner

from fedward_client.commands.site import site
from fedward_shared import canonical
from fedward_shared.audit import AuditLog
from fedward_shared.errors import AuditError, IdentityError, StateError

KEY = key_of("north").public.text
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """As an auditor gets it: without settings, key or ledger."""
    path = tmp_path / "given" / "audit.jsonl"
    writer = AuditLog(path, key_of("north"))
    writer.append("decided", {"charter": "sha256:" + "a" * 64, "choice": "approve"}, NOON)
    writer.append("reserved", {"booking": {"number": 1, "account": "people"}}, NOON)
    writer.append("cleared", {"update": "sha256:" + "b" * 64, "bytes": 4711}, NOON)
    writer.close()
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(site, ["audit", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_show_prints_each_entry(log: Path) -> None:
    lines = run("show", log, "--key", KEY).splitlines()
    assert len(lines) == 3
    assert "decided" in lines[0]
    assert "choice approve" in lines[0]
    assert "account people" in lines[1]
    assert "bytes 4711" in lines[2]


def test_verify_says_what_it_checked(log: Path, tmp_path: Path) -> None:
    said = run("verify", log, "--key", KEY)
    assert "3 entries, all right, until 2026-11-24T12:00:00.000+00:00" in said
    assert "only against a witness" in said
    head = AuditLog(log, key_of("north")).head
    witness = tmp_path / "witness.json"
    witness.write_bytes(canonical.encode({"number": head.number, "digest": head.digest}))
    assert "only against" not in run("verify", log, "--key", KEY, "--witness", witness)
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(AuditError, match="ends at entry 2, but entry 3 was seen elsewhere"):
        run("verify", log, "--key", KEY, "--witness", witness)
    with pytest.raises(StateError, match="no such file"):
        run("verify", log, "--key", KEY, "--witness", tmp_path / "gone.json")


def test_verify_names_the_line(log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b"4711", b"4712"))
    with pytest.raises(AuditError, match=r"audit\.jsonl, line 3: the signature"):
        run("verify", log, "--key", KEY)


def test_another_key_or_no_key(log: Path) -> None:
    with pytest.raises(AuditError, match="line 1: not signed by this institution"):
        run("verify", log, "--key", key_of("south").public.text)
    with pytest.raises(IdentityError, match="no public key"):
        run("verify", log, "--key", "north")


def test_export_is_one_object_a_line(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert "3 entries" in run("export", log, "--key", KEY, "--out", out)
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["decided", "reserved", "cleared"]
    assert lines[1]["booking"] == {"number": 1, "account": "people"}
    assert out.stat().st_mode & 0o777 == 0o600
