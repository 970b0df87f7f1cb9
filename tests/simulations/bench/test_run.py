"""A benchmark's result on disk and its section of the page."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fedward_shared.cli import build
from fedward_shared.errors import UsageError
from fedward_simulations.bench import run
from fedward_simulations.bench.rows import Row


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two benchmarks in place of the real ones; the folders that they were given."""
    folders: list[Path] = []

    def half(folder: Path) -> list[Row]:
        folders.append(folder)
        assert folder.is_dir()
        return [Row("speed", 1.0, 2.0, "the others", bound=0.4)]

    known = {
        "fast": run.Benchmark("A fast one", half),
        "long": run.Benchmark("A long one", half, resumable=True),
    }
    monkeypatch.setattr(run, "BENCHMARKS", known)
    return folders


def test_the_result_has_ratio_goal_and_verdict(measured: list[Path], tmp_path: Path) -> None:
    run.measure("fast", tmp_path, None, Console(file=io.StringIO()))
    (row,) = json.loads((tmp_path / "fast" / "result.json").read_text())["rows"]
    assert (row["ratio"], row["goal"], row["holds"]) == (0.5, "ratio ≤ 0.4", False)
    assert not measured[0].exists()  # its scratch is gone


def test_what_can_be_resumed_gets_the_same_folder_again(
    measured: list[Path], tmp_path: Path
) -> None:
    for _ in range(2):
        run.measure("long", tmp_path, None, Console(file=io.StringIO()))
    assert measured == [tmp_path / "long"] * 2


def test_a_section_is_replaced_and_others_stay(measured: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for name in ("fast", "long", "fast"):
        run.measure(name, tmp_path, page, Console(file=io.StringIO()))
    text = page.read_text()
    assert text.startswith("# Benchmarks")
    assert text.count("## A fast one") == text.count("## A long one") == 1
    assert text.index("A fast one") < text.index("A long one")


def test_an_unknown_name_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    result = CliRunner().invoke(build(), ["bench", "gate", "nonsense", "--out", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert "'nonsense' is none of" in str(result.exception)
    assert not list(tmp_path.iterdir())
