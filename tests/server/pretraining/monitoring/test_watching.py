"""All watchers of a run together."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from patience import PATIENCE
from pydantic import ValidationError
from rich.console import Console
from server.pretraining.monitoring.reported import MACHINE, tell

from fedward_server.pretraining.monitoring import diary
from fedward_server.pretraining.monitoring.watching import MonitoringTerms, watching
from fedward_shared.errors import StateError


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def told(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_leaves_diary_curves_and_events(tmp_path: Path, console: Console) -> None:
    terms = MonitoringTerms(prometheus_port=0, tensorboard=True)
    with watching(terms, tmp_path, MACHINE, console) as watchers:
        tell(watchers, range(20))
        [url] = re.findall(r"metrics at (\S+)", told(console))
        assert "fedward_pretrain_steps_done 20.0" in httpx.get(url).text
    assert {path.name for path in tmp_path.iterdir()} == {
        "curves.html",
        "diary.jsonl",
        "tensorboard",
    }
    assert len(diary.read(tmp_path / "diary.jsonl").steps) == 20
    assert "Pretraining: " in (tmp_path / "curves.html").read_text("utf-8")


def test_by_default_there_are_no_port_and_no_events(tmp_path: Path, console: Console) -> None:
    with watching(MonitoringTerms(), tmp_path, MACHINE, console) as watchers:
        tell(watchers, range(3))
    assert "metrics at" not in told(console)
    assert {path.name for path in tmp_path.iterdir()} == {"curves.html", "diary.jsonl"}


def test_what_ends_the_training_is_raised_after_its_curves_are_drawn(
    tmp_path: Path, console: Console
) -> None:
    def trained() -> None:
        with watching(MonitoringTerms(), tmp_path, MACHINE, console) as watchers:
            tell(watchers, range(3))
            raise StateError("the doctor gives up")

    with pytest.raises(StateError, match="gives up"):
        trained()
    assert (tmp_path / "curves.html").exists()


def test_curves_that_cannot_be_drawn_are_a_notice(tmp_path: Path, console: Console) -> None:
    with watching(MonitoringTerms(), tmp_path, MACHINE, console):
        pass
    assert "curves.html: could not be drawn" in told(console)
    assert "no step is in the diary yet" in diary.read(tmp_path / "diary.jsonl").notices[0]


def test_a_key_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match="mlflow"):
        MonitoringTerms.model_validate({"mlflow": "runs"})


PIPED = """
import sys
from pathlib import Path
from rich.console import Console
from server.pretraining.monitoring.reported import MACHINE, tell
from fedward_server.pretraining.monitoring.watching import MonitoringTerms, watching
with watching(MonitoringTerms(), Path(sys.argv[1]), MACHINE, Console()) as watchers:
    tell(watchers, range(1))
    sys.stdin.readline()
    tell(watchers, range(1, 40))
"""


def test_a_training_goes_on_when_nobody_reads_its_lines_any_more(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PIPED, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"step 1 of 100")
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    found = diary.read(tmp_path / "diary.jsonl")
    assert len(found.steps) == 40
    assert found.notices == ["TerminalView is told nothing more: nobody reads what it writes"]
