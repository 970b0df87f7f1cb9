"""Whose records are left out: a list that is there or an error, and never an empty one by mistake."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from conftest import COORDINATOR, key_of, texts
from typer.testing import CliRunner

from fedward_client import objections
from fedward_client.commands.site import site as commands
from fedward_client.settings import DatasetSettings
from fedward_client.site import Site
from fedward_shared import audit, records
from fedward_shared.errors import AuditError, DataError, UsageError
from fedward_shared.records import LeftOut


def content(**dataset: Any) -> dict[str, Any]:
    return {
        "name": "north",
        "coordinators": {"university": COORDINATOR.public.text},
        "base_models": [],
        "datasets": {
            "records": {"path": "records.jsonl", "account": "people", "epsilon": 8.0, **dataset}
        },
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    key_of("north").save(tmp_path / "site.key")
    owners = [f"p{n}" for n in range(10)]
    records.write_jsonl(tmp_path / "records.jsonl", {**texts(10), "patient": owners})
    listed = content(owner="patient", objections="objections.txt")
    (tmp_path / "site.toml").write_text(tomli_w.dumps(listed), "utf-8")
    return tmp_path


@pytest.fixture
def site(home: Path) -> Iterator[Site]:
    opened = Site.open(home / "site.toml")
    yield opened
    opened.close()


def logged(home: Path) -> list[dict[str, Any]]:
    entries = audit.read(home / "state" / "audit.jsonl", key_of("north").public)
    return [entry.details for entry in entries if entry.event == "objected"]


def test_an_objection_is_on_the_list_and_logged_as_a_count(site: Site, home: Path) -> None:
    assert objections.add(site, "records", ["p1", " p2 ", "p1"]) == 2
    assert objections.add(site, "records", ["p2", "p3"]) == 1
    path = home / "objections.txt"
    assert path.read_text("utf-8") == "p1\np2\np3\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert logged(home) == [
        {"dataset": "records", "added": 2, "listed": 2},
        {"dataset": "records", "added": 1, "listed": 3},
    ]
    assert not re.search(r"\bp[123]\b", (home / "state" / "audit.jsonl").read_text("utf-8"))
    left = objections.left_out(site.settings.datasets["records"])
    assert left == LeftOut("patient", frozenset({"p1", "p2", "p3"}))


def test_a_list_that_people_write_is_read_as_they_write_it(site: Site, home: Path) -> None:
    (home / "objections.txt").write_bytes("  p1\r\n\n# 7\nJürgen\n".encode())
    assert objections.add(site, "records", ["p9"]) == 1
    assert objections.read(home / "objections.txt") == ["p1", "# 7", "Jürgen", "p9"]


def test_no_list_is_named_and_nobody_is_left_out(home: Path) -> None:
    dataset = DatasetSettings(path=home / "r.jsonl", account="people", epsilon=1.0)
    assert objections.left_out(dataset) is None


def test_a_list_that_is_named_and_not_there_is_an_error(site: Site, home: Path) -> None:
    dataset = site.settings.datasets["records"]
    with pytest.raises(
        DataError, match=r"objections\.txt: the list .* cannot be read: No such file"
    ):
        objections.left_out(dataset)
    (home / "objections.txt").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        objections.left_out(dataset)
    (home / "objections.txt").rmdir()
    (home / "objections.txt").write_bytes(b"p\xff\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        objections.left_out(dataset)
    with pytest.raises(DataError, match="is not UTF-8"):
        objections.add(site, "records", ["p1"])
    assert (home / "objections.txt").read_bytes() == b"p\xff\n"


def test_a_list_that_was_lost_is_not_begun_afresh(site: Site, home: Path) -> None:
    objections.add(site, "records", ["p1"])
    (home / "objections.txt").unlink()
    with pytest.raises(DataError, match=r"objections\.txt: .* No such file"):
        objections.add(site, "records", ["p2"])
    assert not (home / "objections.txt").exists()


def test_what_was_prepared_goes_with_an_objection(site: Site, home: Path) -> None:
    kept = home / "cache" / "records.1.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(b"activations")
    objections.add(site, "records", ["p1"])
    assert not kept.exists()


def test_an_objection_that_cannot_be_logged_still_holds(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise AuditError("disk full")

    monkeypatch.setattr(site.audit, "append", full)
    with pytest.raises(AuditError, match="disk full"):
        objections.add(site, "records", ["p1"])
    assert objections.read(home / "objections.txt") == ["p1"]


@pytest.mark.parametrize("owner", ["", "  ", "p1\np2", "p\x00"])
def test_what_is_no_owner_changes_nothing(owner: str, site: Site, home: Path) -> None:
    with pytest.raises(UsageError, match="is no owner"):
        objections.add(site, "records", ["p1", owner])
    assert not (home / "objections.txt").exists()


def test_a_dataset_that_is_not_there_or_has_no_list(site: Site, home: Path) -> None:
    with pytest.raises(UsageError, match=r"datasets\.notes"):
        objections.add(site, "notes", ["p1"])
    (home / "site.toml").write_text(tomli_w.dumps(content()), "utf-8")
    other = Site.open(home / "site.toml")
    with pytest.raises(
        UsageError, match=r'datasets\.records names no list: write owner = "COLUMN"'
    ):
        objections.add(other, "records", ["p1"])
    other.close()


def run(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(commands, [*arguments, "--site", str(home / "site.toml")])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command_says_how_many_have_records(home: Path) -> None:
    said = run(home, "object", "records", "P1", "p2", "p77")
    assert "3 added to the list of records; of the 3 named here, 2 have records" in said
    assert "0 added" in run(home, "object", "records", "p2")


def test_register_says_what_it_registered(home: Path) -> None:
    assert "records: 10 records registered, account people, sha256:" in run(home, "register")
    assert "10 records as registered before" in run(home, "register", "records")
