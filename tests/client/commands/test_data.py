"""Data preparation from the command line: what it says, its exit codes, and its card."""

import json
from pathlib import Path

import pytest
from client.preparation.made import dicom, good
from typer.testing import CliRunner

from fedward_client.commands.site import site
from fedward_client.preparation.store import rows
from fedward_shared import audit
from fedward_shared.errors import DataError, ModelError, StateError, UsageError
from fedward_shared.identity import SigningKey


def run(*arguments: object) -> str:
    """What is printed, or what is raised after that."""
    result = CliRunner().invoke(site, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        result.exception.add_note(result.output)
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run("init", "--name", "north", "--data", "dataset/labelled.jsonl", "--epsilon", 8)
    (tmp_path / "ward").mkdir()
    for name, content in good().items():
        (tmp_path / "ward" / name).write_bytes(content)
    notes = [f"P{n % 20},finding {n} of the left knee {n * n},M{n % 3}" for n in range(60)]
    table = "\n".join(["patient_id,text,code", *notes, notes[0]])
    (tmp_path / "ward" / "notes of 2021.csv").write_text(table)
    (tmp_path / "ward" / "<b>.csv").touch()
    (tmp_path / "labels.csv").write_text("code,label\nM0,<i>arthritis</i>\nM,other\n")
    return tmp_path


def prepare(*more: object) -> str:
    words = ("--labels", "labels.csv", "--low-quality", "unscored", "--processes", 1)
    words += ("--names", "rules")
    return run("data", "prepare", "ward", "--out", "dataset", *words, *more)


def test_a_dataset_is_made_and_drawn(home: Path) -> None:
    told = prepare()
    assert "files: 14 found = 13 read + 1 quarantined" in told
    assert "+ 0 of low quality" in told
    assert "61 with a label" not in told  # one is a duplicate
    assert run("data", "card", "dataset").strip() == "wrote dataset/card.html"
    page = (home / "dataset" / "card.html").read_text("utf-8")
    assert "<i>arthritis" not in page
    assert "&lt;i&gt;arthritis" in page
    assert "the file is empty" in page
    assert "299," in page  # short of 300,000
    assert "The texts were not scored." in page
    assert 'class="meter"' in page
    assert "too few owners to plan for" in page
    key = SigningKey.load(home / "site.key").public
    entries = list(audit.read(home / "state" / "audit.jsonl", key))
    report = json.loads((home / "dataset" / "report.json").read_bytes())
    logged = [entry.details for entry in entries if entry.event == "prepared"]
    digests = {name: report["digests"][f"{name}.jsonl"] for name in ("records", "pictures")}
    assert logged == [digests | {"runs": 1}]
    prepare()
    assert len(list(audit.read(home / "state" / "audit.jsonl", key))) == len(entries)


def test_pictures_are_masked_shown_and_logged(home: Path) -> None:
    assert "pictures: 1 read = 1 kept + 0 duplicates; of 1 owners" in prepare()
    with pytest.raises(StateError, match=r"mask was none, now 0\.25,0,0,0"):
        prepare("--mask", "0.25,0,0,0")
    with pytest.raises(UsageError, match="TOP,RIGHT,BOTTOM,LEFT"):
        prepare("--mask", "top")
    words = ("--low-quality", "unscored", "--names", "rules", "--processes", 1)
    words += ("--mask", "0.25,0,0,0")
    told = run("data", "prepare", "ward", "--out", "masked", *words)
    assert "pictures: 5 read = 5 kept + 0 duplicates; of 3 owners" in told
    run("data", "card", "masked")
    page = (home / "masked" / "card.html").read_text("utf-8")
    assert page.count('<img src="data:image/png;base64,') == 5
    assert "3 video" in page
    assert "http" not in page
    (home / "ward" / "mr.dcm").write_bytes(dicom("MR_small.dcm"))
    run("data", "prepare", "ward", "--out", "masked", *words)
    key = SigningKey.load(home / "site.key").public
    entries = list(audit.read(home / "state" / "audit.jsonl", key))
    assert [entry.event for entry in entries].count("prepared") == 3
    pictures = home / "masked" / "pictures.jsonl"
    pictures.write_bytes(pictures.read_bytes()[:-1])
    with pytest.raises(StateError, match=r"pictures\.jsonl: not the records that were prepared"):
        run("data", "card", "masked")


def test_pseudonyms_find_a_persons_records(home: Path) -> None:
    prepare()
    said = run("data", "pseudonym", "P7", " p7 ").splitlines()
    [one, other] = [line.split()[0] for line in said]
    assert one == other
    mine = [r for r in rows(home / "dataset" / "records.jsonl") if r["owner"] == one]
    assert sorted(record["text"].split()[1] for record in mine) == ["27", "47", "7"]


def test_other_options_and_other_records_are_refused(home: Path) -> None:
    prepare()
    with pytest.raises(StateError, match=r"threshold was 0\.85, now 0\.9"):
        prepare("--threshold", 0.9)
    with pytest.raises(UsageError, match="threshold 2"):
        prepare("--threshold", 2)
    with pytest.raises(UsageError, match="--cut: 7"):
        prepare("--low-quality", "flag", "--cut", 7)
    with pytest.raises(ModelError, match="--low-quality unscored"):
        prepare("--low-quality", "flag")
    with pytest.raises(ModelError, match="prepare with --names rules, which misses more"):
        prepare("--names", "model")
    for text, problem in (
        ("code,label\n", "no `code` and `label` in it"),
        ("a,b\n1,2\n", "line 2: no `code`"),
        ("code,label\nA,x\nA,y\n", "line 3: A has two labels"),
    ):
        (home / "labels.csv").write_text(text)
        with pytest.raises(DataError, match=problem):
            prepare()
    records = home / "dataset" / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-1])
    with pytest.raises(StateError, match="not the records that were prepared"):
        run("data", "card", "dataset")
    with pytest.raises(DataError, match="makes a dataset"):
        run("data", "card", "ward")
    with pytest.raises(UsageError, match="--delta"):
        run("data", "card", "dataset", "--delta", 1)


def test_a_head_of_the_sites_own_labels(home: Path, tiny_bert_folder: Path) -> None:
    lines = [
        json.dumps({"text": text, "label": label})
        for number in range(30)
        for text, label in (
            (f"acute infarction of the heart, day {number}", "undamaged"),
            (f"{number}@@##{number}heart%%heart^^{number}", "damaged"),
        )
    ]
    (home / "own.jsonl").write_text("\n".join(lines))
    words = ("data", "train-quality", "own.jsonl", "--out", "head.safetensors")
    with pytest.raises(ModelError, match="base_models"):
        run(*words)
    told = run(*words, "--base-model", tiny_bert_folder)
    assert "30 undamaged texts and 30 damaged ones, ROC-AUC 1.000 on a fifth" in told
    with pytest.raises(UsageError, match="left as it is"):
        run(*words, "--base-model", tiny_bert_folder)
    settings = (
        (home / "site.toml")
        .read_text()
        .replace("base_models = []", f'base_models = ["{tiny_bert_folder}"]')
    )
    (home / "site.toml").write_text(settings)
    prepare("--low-quality", "leave-out", "--head", "head.safetensors")
    page = run("data", "card", "dataset", "--out", "card.html") and Path("card.html").read_text()
    assert 'class="chart histogram"' in page
    (home / "own.jsonl").write_text('{"text": "a", "label": "good"}')
    with pytest.raises(DataError, match="'good' is neither"):
        run("data", "train-quality", "own.jsonl", "--out", "x", "--base-model", tiny_bert_folder)
