"""Checkpoints: what was written is resumed, and what is damaged is never replaced by a new start."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import COORDINATOR, small_charter
from patience import PATIENCE
from typer.testing import CliRunner

from fedward_server import studies
from fedward_server.cli import study as study_commands
from fedward_server.registry import STUDIES_VARIABLE, register
from fedward_server.studies import LOCK_FILE, STUDY_FILE, Study, StudyLock, end
from fedward_shared import charter as charters
from fedward_shared import tensors
from fedward_shared.charter_terms import PrivacyTerms, TrainingTerms
from fedward_shared.errors import StateError, UsageError
from fedward_shared.report import RoundRecord

START = {"w": torch.tensor([0.0, 1.0, 2.0])}
CHARTER = small_charter(
    tensors.digest(START),
    privacy=PrivacyTerms(epsilon=8.0, noise_multiplier=4.0, sampling_rate=0.1),
    training=TrainingTerms(rounds=3, local_steps=1, learning_rate=1.0),
)
HOLDER = """
import sys, time
from pathlib import Path
from fedward_server.studies import StudyLock
with StudyLock(Path(sys.argv[1]), 0.0):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study that has not begun."""
    place = tmp_path / "study"
    charters.save(place, CHARTER, START, COORDINATOR)
    (place / STUDY_FILE).write_text('base_model = "../model"\n')
    return place


def tensors_of(round_number: int) -> tensors.Tensors:
    return {"w": START["w"] + round_number}


def run_rounds(folder: Path, last: int) -> Study:
    """The study after rounds 1 to `last`, as the coordinator writes them."""
    study = Study(folder)
    study.start(START)
    for number in range(study.rounds_done + 1, last + 1):
        record = RoundRecord(study="test", round=number, cohort=["north"], metrics={"loss": 0.5})
        state = {"first.w": torch.full((3,), float(number))}
        study.finish_round(
            tensors_of(number), state, record, {"north": "sha256:" + "1" * 64}, {"north": "0" * 64}
        )
    return study


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_goes_on_where_it_was(folder: Path) -> None:
    written = run_rounds(folder, 2)
    read = Study(folder)
    read.start({"w": torch.full((3,), 9.0)})
    assert (read.rounds_done, read.is_complete) == (2, False)
    assert read.history == written.history
    assert [record.round for record in read.records] == [1, 2]
    assert torch.equal(read.adapter["w"], tensors_of(2)["w"])
    assert torch.equal(read.optimizer_state["first.w"], torch.full((3,), 2.0))
    assert run_rounds(folder, 3).is_complete


@pytest.mark.parametrize("name", ["0002.safetensors", "0002.json", "outcome.json"])
def test_a_file_that_finds_no_room_is_named_and_the_study_goes_on_later(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = studies.write_atomically

    def full(path: Path, data: bytes) -> None:
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data)

    run_rounds(folder, 1)
    monkeypatch.setattr(studies, "write_atomically", full)
    with pytest.raises(StateError, match=f"{name}: cannot be written: No space left on device"):
        end(run_rounds(folder, 2).folder, "complete", 0)
    monkeypatch.undo()
    assert run_rounds(folder, 2).rounds_done == 2


def test_round_0_is_kept_before_any_round_is_run(folder: Path) -> None:
    Study(folder).start(START)
    read = Study(folder)
    read.start({"w": torch.full((3,), 9.0)})
    assert torch.equal(read.adapter["w"], START["w"])
    assert (read.rounds_done, read.records) == (0, [])


def test_tensors_without_their_record_are_of_a_round_that_never_ended(folder: Path) -> None:
    run_rounds(folder, 2)
    (folder / "rounds" / "0002.json").unlink()
    study = run_rounds(folder, 1)
    assert study.rounds_done == 1
    assert torch.equal(study.adapter["w"], tensors_of(1)["w"])


@pytest.mark.parametrize("name", ["0000.json", "0001.json", "0002.json", "0002.safetensors"])
def test_a_cut_off_checkpoint_is_refused_and_left_alone(folder: Path, name: str) -> None:
    run_rounds(folder, 2)
    path = folder / "rounds" / name
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        before = files_in(folder)
        with pytest.raises(StateError, match=name):
            run_rounds(folder, 3)
        assert files_in(folder) == before


def test_a_flipped_byte_in_the_tensors_is_refused(folder: Path) -> None:
    run_rounds(folder, 2)
    path = folder / "rounds" / "0002.safetensors"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StateError, match=r"0002\.safetensors"):
            Study(folder).read()


def test_a_flipped_bit_anywhere_in_a_record_is_refused(folder: Path) -> None:
    run_rounds(folder, 2)
    path = folder / "rounds" / "0002.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StateError, match=r"0002\.json"):
            Study(folder).read()


@pytest.mark.parametrize(
    "gone", [("0000.json",), ("0001.json",), ("0002.safetensors",), ("0000.json", "0001.json")]
)
def test_a_missing_checkpoint_is_named_and_no_new_study_begins(
    folder: Path, gone: tuple[str, ...]
) -> None:
    run_rounds(folder, 2)
    for name in gone:
        (folder / "rounds" / name).unlink()
    before = files_in(folder)
    with pytest.raises(StateError, match=gone[0]):
        run_rounds(folder, 3)
    assert files_in(folder) == before


def test_tensors_of_later_rounds_say_that_records_are_missing(folder: Path) -> None:
    run_rounds(folder, 2)
    for path in (folder / "rounds").glob("*.json"):
        path.unlink()
    with pytest.raises(StateError, match=r"0000\.json: this checkpoint is missing"):
        run_rounds(folder, 3)


def test_a_checkpoint_of_another_charter_is_refused(folder: Path) -> None:
    run_rounds(folder, 1)
    charters.save(folder, CHARTER.model_copy(update={"purpose": "another"}), START, COORDINATOR)
    with pytest.raises(StateError, match=r"0000\.json.*another charter"):
        Study(folder).read()


def test_a_checkpoint_with_other_tensors_is_refused(folder: Path) -> None:
    run_rounds(folder, 1)
    with pytest.raises(StateError, match="v"):
        Study(folder).start({"v": torch.zeros(3)})
    with pytest.raises(StateError, match="shape"):
        Study(folder).start({"w": torch.zeros(4)})


def test_the_ten_thousandth_round_is_a_round(folder: Path) -> None:
    run_rounds(folder, 1)
    rounds = folder / "rounds"
    content = (rounds / "0001.json").read_bytes()
    for number in range(2, 10_002):
        (rounds / f"{number:04d}.json").write_bytes(content)
    shutil.copy(rounds / "0001.safetensors", rounds / "10001.safetensors")
    study = Study(folder)
    study.read()
    assert study.rounds_done == 10_001


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "base_model"),
        ('base_model = "m"\nthreads = 0\n', "threads"),
        ('base_model = "m"\nevaluate = "never"\n', "evaluate"),
        ('base_model = "m"\npoll_seconds = 0\n', "poll_seconds"),
        ('base_model = "m"\ncolour = "red"\n', "colour"),
        ("base_model =", "not a TOML file"),
    ],
)
def test_wrong_settings_are_named(folder: Path, content: str, named: str) -> None:
    (folder / STUDY_FILE).write_text(content)
    with pytest.raises(UsageError, match=rf"study\.toml: .*{named}"):
        Study(folder)


def test_paths_in_the_settings_are_relative_to_the_study(folder: Path) -> None:
    (folder / STUDY_FILE).write_text('base_model = "../model"\nevaluation = "e.jsonl"\n')
    settings = Study(folder).settings
    assert settings.base_model == folder / "../model"
    assert settings.evaluation == folder / "e.jsonl"


def test_missing_settings_are_named(folder: Path) -> None:
    (folder / STUDY_FILE).unlink()
    with pytest.raises(UsageError, match=r"study\.toml: no such file"):
        Study(folder)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock on `tmp_path`."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()


def test_a_second_process_is_refused_until_the_first_is_gone(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(StateError, match="another process"), StudyLock(tmp_path, 0.0):
        pass
    holder.kill()
    with StudyLock(tmp_path, PATIENCE):
        assert holder.wait(PATIENCE) != 0


def test_the_lock_is_free_again_however_it_was_left(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), StudyLock(tmp_path, 0.0):
        raise KeyboardInterrupt
    with StudyLock(tmp_path, 0.0), pytest.raises(StateError, match=LOCK_FILE):
        StudyLock(tmp_path, 0.0).__enter__()
    with StudyLock(tmp_path, 0.0):
        pass


def test_the_studies_that_were_launched_here_are_listed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STUDIES_VARIABLE, str(tmp_path / "known"))
    assert CliRunner().invoke(study_commands, ["list"]).output == ""
    end(run_rounds(folder, 2).folder, "stopped", 130)
    register(folder, Study(folder).charter.digest)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    charters.save(other, CHARTER.model_copy(update={"study": "another"}), START, COORDINATOR)
    register(folder, Study(folder).charter.digest)
    shutil.rmtree(other / "rounds")
    register(other, Study(other).charter.digest)
    (other / "charter.json").unlink()
    listed = CliRunner().invoke(study_commands, ["list"]).output
    assert f"test: 2 of 3 rounds; stopped ({folder})" in listed
    assert f"{other}: {other / 'charter.json'}: no such file" in listed
    shutil.rmtree(folder)
    assert "test: " not in CliRunner().invoke(study_commands, ["list"]).output
