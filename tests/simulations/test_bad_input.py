"""Whatever is wrong with what a person gives: one message, its exit code, and nothing half-written."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
import torch
import typer
from conftest import texts
from patience import PATIENCE
from transformers import BertConfig, BertModel

from fedward_shared import cli, records, statements
from fedward_shared.agreement import CHARTER_FILE
from fedward_shared.charter import Charter
from fedward_shared.charter_terms import WITHOUT_DP
from fedward_shared.identity import SigningKey
from fedward_simulations.runs import RUN_FILE

START = ["--sites", "2", "--rounds", "2", "--threads", "1", "--epsilon", "0.5"]


@dataclass(frozen=True)
class Ended:
    code: object
    out: str
    err: str


def fedward(*arguments: object) -> Ended:
    """The command in this process, which has imported all that a new one would have to."""
    out, err = io.StringIO(), io.StringIO()
    given = sys.argv
    sys.argv = ["fedward", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
        code: object = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = given
        structlog.reset_defaults()
    return Ended(code, out.getvalue(), err.getvalue())


def refused(ended: Ended, code: int, *named: str) -> None:
    """One clear message with these words in it, and the documented exit code."""
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    for words in named:
        assert words in ended.err
    if "Usage:" not in ended.err:  # Typer's own message has that line before it
        assert ended.err.startswith("fedward: ")
        assert ended.err.count("\n") == 1


def files(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, without the log and SQLite's own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "log.jsonl" and "sqlite-" not in path.name
    }


def nothing_was_written(out: Path) -> None:
    """Of a run that could not start a log and its marker may remain."""
    assert set(files(out) if out.exists() else {}) <= {RUN_FILE}


@pytest.fixture(scope="module")
def model(tiny_bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with as many layers as the recipe counts on."""
    folder = tmp_path_factory.mktemp("model") / "bert"
    shutil.copytree(tiny_bert_folder, folder)
    config = BertConfig.from_pretrained(tiny_bert_folder, num_hidden_layers=6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "own.jsonl"
    records.write_jsonl(path, texts(200))
    return path


def simulate(out: Path, *options: object) -> Ended:
    return fedward("simulate", "hospitals", "--out", out, *options)


# Options, data files and models that cannot be


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--epsilon", "-1"], "--epsilon"),
        (["--epsilon", "nan"], "--epsilon"),
        (["--epsilon", "inf"], "--epsilon"),
        (["--epsilon", "much"], "--epsilon"),
        (["--rounds", "0"], "--rounds"),
        (["--sites", "0"], "--sites"),
        (["--sites", "500"], "--sites"),
        (["--records", "0"], "--records"),
        (["--threads", "0"], "--threads"),
        (["--seed", "x"], "--seed"),
        (["--partition", "evenly"], "--partition"),
        (["--partition", "dirichlet:nan"], "--partition"),
        (["--color", "red"], "--color"),
    ],
)
def test_an_option_that_cannot_be(
    tmp_path: Path, data: Path, options: list[str], named: str
) -> None:
    refused(simulate(tmp_path / "out", "--data", data, *options), 2, named)
    nothing_was_written(tmp_path / "out")


def test_a_column_to_deal_by_needs_a_file_that_has_it(tmp_path: Path, data: Path) -> None:
    refused(simulate(tmp_path / "out", "--partition", "column:ward"), 2, "--partition", "--data")
    ended = simulate(tmp_path / "out", "--data", data, "--partition", "column:ward")
    refused(ended, 3, str(data), "'ward'")
    nothing_was_written(tmp_path / "out")


def test_the_folder_is_asked_for() -> None:
    refused(fedward("simulate", "hospitals"), 2, "--out")


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("d.csv", b"", "empty"),
        ("d.csv", b"text,label\n", "no records"),
        ("d.csv", b"text,label\nfever,bone\nRen\xe9,heart\n", "line 3 is not UTF-8"),
        ("d.csv", b"note,label\nfever,bone\n", "'text'"),
        ("d.csv", b"text,label\n" + b"fever,bone\n" * 50, "'label' has one value only"),
        ("d.csv", b"text,label\nfever,bone\npain,heart\n", "2 records"),
        ("d.csv", b"text,label\nfever,bone\npain,\n", "'label' has no text in record 2"),
        ("d.jsonl", b'{"text": "fever"', "cannot be read"),
        ("d.parquet", b"PAR1 or so", "cannot be read"),
        ("d.xlsx", b"PK", "ending"),
        ("d.jsonl", b'{"text": ["fever"], "label": "bone"}\n', "'text' holds List(String)"),
        ("d.jsonl", b'{"text": {"note": "fever"}, "label": "bone"}\n', "'text' holds Struct("),
    ],
)
def test_a_data_file_that_cannot_be_used(
    tmp_path: Path, name: str, content: bytes, named: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    refused(simulate(tmp_path / "out", "--data", path), 3, str(path), named)
    nothing_was_written(tmp_path / "out")


@pytest.mark.parametrize(
    "damage",
    ["absent", "no weights", "weights", "config.json", "tokenizer.json", "tokenizer code"],
)
def test_a_base_model_that_cannot_be_used(
    tmp_path: Path, data: Path, model: Path, damage: str
) -> None:
    folder = tmp_path / "model"
    if damage != "absent":
        shutil.copytree(model, folder)
    if damage == "no weights":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif damage == "weights":
        (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    elif damage == "tokenizer code":
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config["auto_map"] = {"AutoTokenizer": ["evil.Tokenizer", None]}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    elif damage.endswith(".json"):
        (folder / damage).write_text("{")
    refused(simulate(tmp_path / "out", "--data", data, "--model", folder), 5, str(folder))
    nothing_was_written(tmp_path / "out")


# A run that was finished, and one that was interrupted


@pytest.fixture(scope="module")
def command(data: Path, model: Path) -> list[str]:
    return [*START, "--data", str(data), "--model", str(model)]


@pytest.fixture(scope="module")
def finished(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("finished") / "out"
    ended = simulate(out, *command)
    assert ended.code == 0, ended.err
    return out


@dataclass(frozen=True)
class Stopped:
    """What a real process left that was stopped by a real Ctrl-C while a site was training."""

    out: Path
    code: int
    said: str


def open_bookings(ledger: Path) -> int:
    """Bookings without an answer, 0 while there is no ledger."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
            query = "SELECT count(*) FROM bookings WHERE closed_at IS NULL"
            return int(db.execute(query).fetchone()[0])
    except sqlite3.Error:
        return 0


@pytest.fixture(scope="module")
def stopped(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    out = tmp_path_factory.mktemp("stopped") / "out"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fedward_shared.cli",
            "simulate",
            "hospitals",
            "--out",
            out,
            *command,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        ledger = out / "studies/federated-dp/sites/north/state/ledger.sqlite"
        until = time.monotonic() + PATIENCE
        while not open_bookings(ledger) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return Stopped(out, process.returncode, said)


@pytest.fixture
def copy(stopped: Stopped, tmp_path: Path) -> Path:
    """What the stopped run left, for a test to spoil."""
    return shutil.copytree(stopped.out, tmp_path / "out")


def test_ctrl_c_ends_cleanly(stopped: Stopped) -> None:
    assert stopped.code == 130, stopped.said
    assert "Traceback" not in stopped.said
    left = files(stopped.out)
    assert not [name for name in left if Path(name).name.startswith(".")]
    assert {name.split("/")[0] for name in left} == {RUN_FILE, "studies"}
    ended = fedward("study", "status", stopped.out / "studies/federated-dp/coordinator")
    assert ended.code == 0
    assert "of 2 rounds" in ended.out
    assert "interrupted; it can be resumed" in ended.out


def test_ctrl_c_says_how_to_go_on(stopped: Stopped) -> None:
    assert "fedward: interrupted; the same command goes on where it stopped" in stopped.said


@pytest.mark.parametrize("moment", ["importing", "running"])
def test_ctrl_c_is_told_at_any_moment(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    app = typer.Typer()

    @app.command()
    def press() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build", press if moment == "importing" else lambda: app)
    refused(fedward(), 130, "interrupted; the same command goes on")


def test_what_was_booked_was_finished(stopped: Stopped) -> None:
    ledgers = list((stopped.out / "studies").rglob("ledger.sqlite"))
    assert ledgers
    assert [open_bookings(ledger) for ledger in ledgers] == [0] * len(ledgers)


def test_the_same_command_goes_on_to_the_same_adapter(
    copy: Path, finished: Path, command: list[str]
) -> None:
    ended = simulate(copy, *command)
    assert ended.code == 0, ended.err
    assert "going on where the interrupted run stopped" in ended.out
    ours, theirs = files(copy / "adapter"), files(finished / "adapter")
    assert ours == theirs
    result = json.loads((copy / "result.json").read_text("utf-8"))
    whole = json.loads((finished / "result.json").read_text("utf-8"))
    assert result["rows"] == whole["rows"]
    assert all(site["epsilon"] <= 0.5 for site in result["sites"])


def test_another_command_does_not_go_on_there(copy: Path, command: list[str]) -> None:
    before = files(copy)
    refused(simulate(copy, *command, "--seed", 1), 2, str(copy), "other options")
    assert files(copy) == before


def test_a_corrupt_checkpoint_is_refused_and_left_alone(copy: Path, command: list[str]) -> None:
    path = max((copy / "studies/federated-dp/coordinator/rounds").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    before = files(copy)
    refused(simulate(copy, *command), 8, str(path))
    assert files(copy) == before
    refused(fedward("study", "status", path.parents[1]), 8, str(path))


@pytest.mark.parametrize("problem", ["one class", "gone", "not UTF-8", "ledger"])
def test_fewer_sites_than_the_minimum_end_the_study(
    copy: Path, command: list[str], problem: str
) -> None:
    site = copy / "studies/federated-dp/sites/north"
    if problem == "one class":
        records.write_jsonl(site / "records.jsonl", {"text": ["Ada", "Bo"], "label": ["bone"] * 2})
    elif problem == "gone":
        (site / "records.jsonl").unlink()
    elif problem == "not UTF-8":
        (site / "records.jsonl").write_bytes(b"\xff")
    else:
        (site / "state/ledger.sqlite").write_bytes(b"no ledger" * 1000)
    coordinator = copy / "studies/federated-dp/coordinator"
    study = (coordinator / "study.toml").read_text("utf-8")
    (coordinator / "study.toml").write_text(study.replace("600.0", "0.1"), "utf-8")
    ended = simulate(copy, *command)
    refused(ended, 9, "of the minimum 2")
    if problem != "ledger":
        assert "north: refused: data" in ended.err
    else:
        assert "north: refused: state" in ended.err
        assert (site / "state/ledger.sqlite").read_bytes() == b"no ledger" * 1000
    assert not (copy / "result.json").exists()
    assert not (copy / "adapter").exists()


def test_another_base_model_in_the_same_folder_is_noticed(
    copy: Path, command: list[str], model: Path
) -> None:
    config = (model / "config.json").read_bytes()
    (model / "config.json").write_bytes(config + b"\n")
    try:
        refused(simulate(copy, *command), 5, str(model), "digest", "sha256:")
    finally:
        (model / "config.json").write_bytes(config)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--label-column", "ward"], 3),
        (["--epsilon", "0"], 2),
        (["--partition", "evenly"], 2),
        (["--model", "/nowhere"], 5),
    ],
)
def test_a_finished_run_survives_a_typing_error(
    finished: Path, tmp_path: Path, command: list[str], options: list[str], code: int
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    assert simulate(out, *command, *options).code == code
    assert files(out) == files(finished)


# What people at a site type


@pytest.fixture
def charter(finished: Path, tmp_path: Path) -> Path:
    """The folder a coordinator sends."""
    return shutil.copytree(finished / "studies/federated-dp/coordinator", tmp_path / "charter")


@pytest.fixture
def site(model: Path, tmp_path: Path) -> Iterator[Path]:
    """The `site.toml` of a site that has approved nothing."""
    folder = tmp_path / "site"
    folder.mkdir()
    records.write_jsonl(folder / "records.jsonl", texts(40))
    key_of("north").save(folder / "site.key")
    (folder / "site.toml").write_text(
        f'name = "north"\nkey = "site.key"\nbase_models = ["{model}"]\nminimum_cohort = 2\n\n'
        f'[coordinators]\ncoordinator = "{key_of("coordinator").public.text}"\n\n'
        '[datasets.records]\npath = "records.jsonl"\naccount = "people"\nepsilon = 1.0\n',
        "utf-8",
    )
    yield folder / "site.toml"
    assert not list(folder.rglob(".*"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def key_of(name: str) -> SigningKey:
    """The key of a party in a simulation of seed 0."""
    return SigningKey.from_seed(hashlib.sha256(f"fedward simulation 0 {name}".encode()).digest())


def resign(charter: Path, field: str, value: object) -> None:
    """Sets a field, a dotted path, and signs the charter as its coordinator would."""
    path = charter / CHARTER_FILE
    body = json.loads(path.read_bytes())["body"]
    *sections, last = field.split(".")
    section = body
    for name in sections:
        section = section[name]
    section[last] = value
    path.write_bytes(statements.sign(Charter.KIND, body, key_of("coordinator")).encode())


def test_a_good_charter_is_approved(charter: Path, site: Path) -> None:
    ended = fedward("site", "approve", charter, "--site", site)
    assert ended.code == 0, ended.err
    assert "north approved federated-dp (sha256:" in ended.out


def other_key(charter: Path) -> list[dict[str, object]]:
    """The participants, north with the key of somebody else."""
    body = json.loads((charter / CHARTER_FILE).read_bytes())["body"]
    found: list[dict[str, object]] = body["participants"]
    return [p | {"key": key_of("x").public.text} if p["name"] == "north" else p for p in found]


Spoil = Callable[[Path, Path], object]

SPOILT: dict[str, tuple[int, Spoil, list[str]]] = {
    "no charter": (4, lambda c, s: (c / CHARTER_FILE).unlink(), ["charter.json: no such file"]),
    "no JSON": (13, lambda c, s: edit(c / CHARTER_FILE, ":", "="), ["charter.json", "JSON"]),
    "changed": (
        13,
        lambda c, s: edit(c / CHARTER_FILE, '"0.5"', '"0.6"'),
        ["charter.json", "signature"],
    ),
    "wrong field": (
        4,
        lambda c, s: resign(c, "training.local_steps", -2),
        ["charter.json", "training.local_steps"],
    ),
    "unknown field": (4, lambda c, s: resign(c, "seed", 7), ["charter.json", "seed"]),
    "costs more than it says": (
        4,
        lambda c, s: resign(c, "privacy.epsilon", "0.4"),
        ["charter.json", "privacy.epsilon"],
    ),
    "ε of zero": (
        4,
        lambda c, s: resign(c, "privacy.epsilon", "0.0"),
        ["charter.json", "privacy.epsilon"],
    ),
    "expired": (4, lambda c, s: resign(c, "expires", "2026-01-31"), ["expired on 2026-01-31"]),
    "other use": (4, lambda c, s: resign(c, "use", "marketing"), ["marketing", "site.toml"]),
    "another's key": (
        4,
        lambda c, s: resign(c, "participants", other_key(c)),
        ["participants", "north has the key"],
    ),
    "unknown coordinator": (
        4,
        lambda c, s: edit(s, "coordinator =", "university ="),
        ["site.toml: coordinators", "coordinator"],
    ),
    "another coordinator's key": (
        4,
        lambda c, s: edit(s, key_of("coordinator").public.text, key_of("x").public.text),
        ["coordinator.key", "site.toml knows"],
    ),
    "key open to others": (
        12,
        lambda c, s: (s.parent / "site.key").chmod(0o644),
        ["site.key", "chmod"],
    ),
    "other initial tensors": (
        4,
        lambda c, s: (c / "initial.safetensors").write_bytes(b"\x00" * 64),
        ["initial.safetensors", "digest"],
    ),
    "cohort": (
        4,
        lambda c, s: edit(s, "minimum_cohort = 2", "minimum_cohort = 3"),
        ["aggregation.minimum_cohort", "site.toml"],
    ),
    "no participant": (4, lambda c, s: edit(s, "north", "west"), ["west", "participants"]),
    "unknown dataset": (
        3,
        lambda c, s: edit(s, "[datasets.records]", "[datasets.other]"),
        ["site.toml", "datasets.records"],
    ),
    "no data file": (
        3,
        lambda c, s: (s.parent / "records.jsonl").unlink(),
        ["records.jsonl", "datasets.records.path"],
    ),
    "δ": (
        7,
        lambda c, s: edit(s, "epsilon = 1.0", "epsilon = 1.0\ndelta = 1e-9"),
        ["privacy.delta", "site.toml"],
    ),
    "base model": (
        5,
        lambda c, s: resign(c, "base_model.digest", "sha256:" + "0" * 64),
        ["base_models", "0" * 64],
    ),
    "settings": (2, lambda c, s: edit(s, "= 2", "= 0"), ["site.toml", "minimum_cohort"]),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_cannot_be_approved_is_not_kept(charter: Path, site: Path, what: str) -> None:
    code, spoil, named = SPOILT[what]
    spoil(charter, site)
    refused(fedward("site", "approve", charter, "--site", site), code, *named)
    assert not (site.parent / "state/charters").exists()


def without_dp(charter: Path, words: str) -> None:
    """Turns the charter into one without differential privacy."""
    resign(charter, "privacy.mechanism", "none")
    resign(charter, "privacy.without_dp", words)


def test_a_study_without_dp_needs_plain_words_on_both_sides(charter: Path, site: Path) -> None:
    approve = ("site", "approve", charter, "--site", site)
    without_dp(charter, "")
    refused(fedward(*approve), 4, "charter.json", "without_dp", WITHOUT_DP)
    without_dp(charter, WITHOUT_DP)
    refused(fedward(*approve), 7, "site.toml", f'without_dp = "{WITHOUT_DP}"')
    assert not (site.parent / "state/charters").exists()
    edit(site, "minimum_cohort", f'without_dp = "{WITHOUT_DP}"\nminimum_cohort')
    assert fedward(*approve).code == 0


def test_a_corrupt_ledger_is_named_and_left_alone(charter: Path, site: Path) -> None:
    ledger = site.parent / "state/ledger.sqlite"
    ledger.parent.mkdir()
    ledger.write_bytes(b"no ledger" * 1000)
    for arguments in (["budget"], ["approve", charter]):
        refused(fedward("site", *arguments, "--site", site), 8, str(ledger), "backup")
    assert files(ledger.parent) == {"ledger.sqlite": b"no ledger" * 1000}


def test_a_ledger_that_is_gone_is_not_begun_afresh(charter: Path, site: Path) -> None:
    assert fedward("site", "approve", charter, "--site", site).code == 0
    ledger = site.parent / "state/ledger.sqlite"
    ledger.unlink()
    for arguments in (["budget"], ["approve", charter]):
        refused(fedward("site", *arguments, "--site", site), 8, str(ledger), "backup")
    assert not ledger.exists()
    ledger.parent.rename(site.parent / "lost")
    assert fedward("site", "budget", "--site", site).code == 0


def test_a_folder_is_no_settings(site: Path) -> None:
    refused(fedward("site", "budget", "--site", site.parent), 2, str(site.parent))


@pytest.mark.parametrize("what", ["simulate", "approve"])
def test_a_file_is_no_folder(site: Path, charter: Path, what: str) -> None:
    if what == "simulate":
        refused(simulate(site, "--data", site), 2, str(site))
    else:
        refused(
            fedward("site", "approve", charter / CHARTER_FILE, "--site", site), 4, "charter.json"
        )


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    refused(fedward("study", "status", tmp_path), 4, "charter.json: no such file")
