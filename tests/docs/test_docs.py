"""What the documents name is there."""

import inspect
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest
import typer
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from fedward_client import settings
from fedward_shared import cli, errors, result, tasks
from fedward_shared.annotation import documents
from fedward_shared.annotation.check import problems
from fedward_shared.annotation.schema import Schema
from fedward_shared.charter_terms import TaskKind
from fedward_shared.statistics import figures
from fedward_shared.statistics.terms import StatisticsTerms
from fedward_shared.vertical.columns import TableTerms
from fedward_shared.vertical.terms import VerticalTerms

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
FOLDERS = ("shared/", "client/", "server/", "simulations/", "deploy/", "tests/", "docs/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_paths_and_targets_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(r"`([a-z]+/[\w./-]+)`", text):
        if path.startswith(FOLDERS):
            assert (ROOT / path).exists(), path
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in re.findall(r"make ([a-z]+)`", text):
        assert target in targets


def test_every_exit_code_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text("utf-8")
    kinds = [k for k in vars(errors).values() if inspect.isclass(k)]
    for kind in kinds:
        if issubclass(kind, errors.FedwardError):
            assert f"| {kind.exit_code} | {kind.__name__} |" in page


def help_pages() -> Iterator[str]:
    """A section for each command: what its `--help` says on a plain terminal of 100 columns."""
    app = cli.build()
    plain = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}

    def section(command: click.Command, path: list[str]) -> Iterator[str]:
        shown = CliRunner(env=plain).invoke(app, [*path, "--help"], prog_name="fedward")
        assert shown.exit_code == 0, path
        # Typer escapes the brackets for rich even where rich does not print them.
        text = "\n".join(line.rstrip() for line in shown.output.replace("\\[", "[").splitlines())
        yield f"## {' '.join(['fedward', *path])}\n\n```text\n{text.strip()}\n```\n"
        if isinstance(command, click.Group):
            for name, child in sorted(command.commands.items()):
                yield from section(child, [*path, name])

    yield from section(typer.main.get_command(app), [])


def test_the_reference_of_the_command_line_is_what_help_says() -> None:
    page = ROOT / "docs/reference/cli.md"
    head = (
        "# Command line\n\nWhat `--help` says of every command. Written by "
        "`WRITE_REFERENCE=1 .venv/bin/pytest tests/docs -k command_line`.\n\n"
    )
    expected = head + "\n".join(help_pages())
    if os.environ.get("WRITE_REFERENCE"):
        page.write_text(expected, "utf-8")
    assert page.read_text("utf-8") == expected


SECTIONS: dict[str, type[settings.Section]] = {
    "site.toml": settings.SiteSettings,
    "[datasets.NAME]": settings.DatasetSettings,
    "[datasets.NAME.alignment]": settings.AlignmentSettings,
    "[datasets.NAME.duplicates]": settings.DuplicatesSettings,
    "[approval]": settings.ApprovalSettings,
    "[window]": settings.WindowSettings,
    "[limits]": settings.LimitSettings,
}


def test_every_section_of_the_settings_is_in_the_reference() -> None:
    assert set(SECTIONS.values()) == set(settings.Section.__subclasses__())


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_of_the_settings_is_in_the_reference(section: str) -> None:
    """By its name in the file, in the order of the code, with its default."""
    page = (ROOT / "docs/reference/site-toml.md").read_text("utf-8")
    parts = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", parts[section], re.MULTILINE)
    assert rows == [
        (field.alias or name, default_of(field))
        for name, field in SECTIONS[section].model_fields.items()
    ]


def default_of(field: FieldInfo) -> str:
    """As the reference writes it."""
    if field.is_required():
        return "required"
    match field.default:
        case None | "" | () | {} | settings.Section():
            return "–"
        case bool(value):
            return f"`{str(value).lower()}`"
        case Path() | str():
            return f'`"{field.default}"`'
        case tuple(values):
            return f"`{json.dumps(values)}`"
        case value:
            return f"`{value}`"


@pytest.mark.parametrize("part", result.Part.__subclasses__(), ids=lambda part: part.__name__)
def test_every_field_of_a_result_is_in_the_reference(part: type[result.Part]) -> None:
    page = (ROOT / "docs/reference/result.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    named = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", sections[part.__name__], re.MULTILINE)
    assert named == [field.alias or name for name, field in part.model_fields.items()]


@pytest.mark.parametrize("part", figures.Part.__subclasses__(), ids=lambda part: part.__name__)
def test_every_field_of_statistics_is_in_the_reference(part: type[figures.Part]) -> None:
    page = (ROOT / "docs/reference/statistics.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    named = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", sections[part.__name__], re.MULTILINE)
    assert named == [field.alias or name for name, field in part.model_fields.items()]


def test_the_example_of_the_settings_is_accepted(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/site-toml.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "site.toml").write_text(example, "utf-8")
    assert settings.load(tmp_path / "site.toml").collusion == 2


def test_the_example_of_a_vertical_study_is_accepted() -> None:
    page = (ROOT / "docs/explanation/vertical.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    number = {"kind": "number", "name": "x", "most": 1}
    found = VerticalTerms.model_validate(
        {
            "active": "bank",
            "passive": [{"name": "bureau", "table": {"columns": [number]}}],
            "alignment": {"rules": ["exact"], "most": 1000},
            **tomllib.loads(example),
        }
    )
    assert [column.kind for column in found.table.columns] == ["text", "image"]
    assert found.outputs == len(found.class_weights) == 3


def test_the_example_of_statistics_is_accepted() -> None:
    page = (ROOT / "docs/explanation/statistics.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found = StatisticsTerms.model_validate(tomllib.loads(example))
    assert found.questions == 5


def test_the_example_of_marked_texts_is_accepted(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/annotate.md").read_text("utf-8")
    (schema,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    terms = Schema.model_validate(tomllib.loads(schema) | {"words": "unicode"})
    assert problems(documents.parse(line, "page"), terms) == []


def test_the_example_of_a_record_with_entities_is_accepted() -> None:
    page = (ROOT / "docs/how-to/own-data.md").read_text("utf-8")
    (line,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    record = json.loads(line)
    (entity,) = documents.parse_entities(record["entities"], "page")
    assert record["text"][entity.start : entity.end] == "pain"
    for kind in get_args(TaskKind):
        (fields,) = re.findall(rf"^\| `{kind}` \| ([^|]+) \|", page, re.MULTILINE)
        assert tuple(re.findall(r"`(\w+)`", fields)) == tasks.KINDS[kind].roles


def test_the_example_of_a_table_is_accepted() -> None:
    page = (ROOT / "docs/how-to/run-a-vertical-study.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    table = TableTerms.model_validate(tomllib.loads(example))
    assert {column.kind for column in table.columns} == {"number", "date", "category"}
