"""Bad input on the command line: one message that names what is wrong, its own exit code, no report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import texts
from patience import PATIENCE

from fedward_shared import records
from fedward_simulations.data import base_models


def fedward(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedward_shared.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    records.write_jsonl(tmp_path / "own.jsonl", texts(120))
    return tmp_path / "own.jsonl"


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--engine", "abacus"], 2, "abacus"),
        (["--data", "DATA", "--label-column", "ward"], 3, "'ward'"),
        (["--data", "DATA", "--model", "CODE"], 5, "auto_map"),
    ],
)
def test_bad_input_is_named_and_leaves_no_report(
    tmp_path: Path, data: Path, options: list[str], code: int, named: str
) -> None:
    (tmp_path / "code").mkdir()
    config = {"model_type": "bert", "auto_map": {"AutoModel": "evil.Model"}}
    (tmp_path / "code" / "config.json").write_text(json.dumps(config))
    places = {"DATA": str(data), "CODE": str(tmp_path / "code")}
    chosen = [places.get(option, option) for option in options]
    ended = fedward("simulate", "hospitals", "--out", tmp_path / "out", *chosen)
    assert ended.returncode == code, ended.stderr
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_researchers_own_file_gives_the_whole_report(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    ended = fedward(
        "simulate", "hospitals", "--out", out, "--data", data, "--sites", 2, "--rounds", 1,
        "--epsilon", 8, "--model", base_models.minilm(), "--threads", 1,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    result = json.loads((out / "result.json").read_text())
    assert [row["name"] for row in result["rows"]] == [
        "majority", "federated-dp", "probe-dp", "alone",
    ]  # fmt: skip
    assert all(row["epsilon"] <= 8 for row in result["rows"] if row["private"])
    assert {path.name for path in (out / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "head.safetensors", "manifest.json",
    }  # fmt: skip
    site = out / "studies" / "federated-dp" / "sites" / "north" / "site.toml"
    budget = fedward("site", "budget", "--site", site)
    assert budget.returncode == 0
    assert "records" in budget.stdout


def test_settings_that_are_not_there_are_named(tmp_path: Path) -> None:
    ended = fedward("site", "budget", "--site", tmp_path / "site.toml")
    assert ended.returncode == 2
    assert "site.toml: no such file" in ended.stderr


def test_init_writes_no_settings_over_others(tmp_path: Path, data: Path) -> None:
    command = ["site", "init", "--name", "north", "--base-model", tmp_path, "--data", data]
    command += ["--site", tmp_path / "site.toml"]
    assert fedward(*command).returncode == 0
    written = (tmp_path / "site.toml").read_bytes()
    assert fedward(*command).returncode == 2
    assert (tmp_path / "site.toml").read_bytes() == written
