"""Annotated texts from the command line, and its exit codes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedward_client.commands.site import site
from fedward_shared.errors import DataError, UsageError

SCHEMA = """
[[labels]]
name = "症状"
forms = ["胸痛"]
attributes = [{ name = "duration" }]
"""
LINE = (
    '{"text": "患者主诉持续性胸痛3小时", "entities": [{"start": %d, "end": 9, "label": "症状"}]}\n'
)


def run(*arguments: object) -> str:
    """What is printed, or what is raised after that."""
    result = CliRunner().invoke(site, ["annotation", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        result.exception.add_note(result.output)
        raise result.exception
    return result.output


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    (tmp_path / "schema.toml").write_text(SCHEMA, "utf-8")
    (tmp_path / "right.jsonl").write_text(LINE % 7, "utf-8")
    (tmp_path / "wrong.jsonl").write_text(LINE % 7 + LINE % 6, "utf-8")
    return tmp_path


def test_check(marked: Path) -> None:
    schema = ("--schema", marked / "schema.toml")
    assert "1 texts, 1 entities, all right" in run("check", marked / "right.jsonl", *schema)
    with pytest.raises(DataError, match="1 problems in 1 of 2 texts") as raised:
        run("check", marked / "wrong.jsonl", *schema)
    assert raised.value.exit_code == 3
    assert "text 2: entities[0]: [6, 9) is '性胸痛'" in raised.value.__notes__[0]
    assert "[7, 9) is '胸痛'" in raised.value.__notes__[0]


def test_convert(marked: Path) -> None:
    out = marked / "records.jsonl"
    assert "1 texts, 1 entities" in run("convert", marked / "right.jsonl", out)
    assert '\\"start\\":7' in out.read_text("utf-8")
    with pytest.raises(UsageError, match="is there already"):
        run("convert", marked / "right.jsonl", out)
    run("convert", out, marked / "brat", "--from", "records", "--to", "brat")
    assert (marked / "brat" / "1.ann").read_text("utf-8") == "T1\t症状 7 9\t胸痛\n"


def test_agreement(marked: Path) -> None:
    right = marked / "right.jsonl"
    assert "F1, same span and label: 1.000" in run("agreement", right, right)
    with pytest.raises(DataError, match="one annotator has 1 texts, the other 2"):
        run("agreement", right, marked / "wrong.jsonl")
