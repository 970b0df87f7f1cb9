"""The diary: what is written is what is read, whatever was cut off or left on the way."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from server.pretraining.monitoring.reported import MACHINE, evaluation, spike, step, tell

from fedward_server.pretraining.doctor import (
    GiveUp,
    GoBack,
    NewLoader,
    Reweight,
    SaveMemory,
    Treatment,
)
from fedward_server.pretraining.monitoring import diary
from fedward_server.pretraining.monitoring.diary import Diary, Kept, Record
from fedward_server.pretraining.monitoring.figures import TREATMENTS
from fedward_shared.errors import DataError, StateError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "diary.jsonl"


def test_all_that_is_told_is_read_again(path: Path) -> None:
    treatments: list[Treatment] = [
        GoBack("spike 中", 3, 0.5, 10),
        SaveMemory("memory", True, 2),
        Reweight("shares", {"english": 0.5, "中文": 0.5}),
        NewLoader("stalled"),
        GiveUp("enough"),
    ]
    with Diary(path, MACHINE) as written:
        written.step(step(0))
        written.step(step(1, loss=math.nan)._replace(gradient_norm=math.inf))
        written.evaluation(evaluation(2))
        written.checkpoint(2, 0.25)
        for treatment in treatments:
            written.treatment(2, treatment)
        written.notice("line\nfeed")
    found = diary.read(path)
    assert found.steps[0] == step(0)
    assert math.isnan(found.steps[1].loss)
    assert found.steps[1].gradient_norm == math.inf
    assert found.evaluations == [evaluation(2)]
    assert found.checkpoints == [Kept(2, 0.25)]
    assert [(t.step, t.name, t.reason) for t in found.treatments] == [
        (2, name, treatment.reason) for name, treatment in zip(TREATMENTS, treatments, strict=True)
    ]
    assert found.notices == ["line\nfeed"]
    [begun] = found.begun
    assert begun[2:] == tuple(MACHINE)
    for line in path.read_text("utf-8").splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["at"] > 1.7e9


def test_every_treatment_has_a_name() -> None:
    assert set(TREATMENTS.values()) == set(get_args(Treatment))


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_line_that_was_cut_off_is_taken_away(path: Path, cut: int) -> None:
    with Diary(path, MACHINE) as written:
        tell(written, range(20))
        written.step(step(20))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert [r.step for r in diary.read(path).steps] == list(range(20))
    with Diary(path, MACHINE) as written:
        tell(written, range(20, 30))
    found = diary.read(path)
    assert [r.step for r in found.steps] == list(range(30))
    assert (len(found.begun), found.left) == (2, [])


def test_a_diary_of_which_nothing_but_a_part_of_its_first_line_is_there(path: Path) -> None:
    path.write_bytes(b'{"kind": "begun", "at": 17')
    with Diary(path, MACHINE):
        pass
    assert len(diary.read(path).begun) == 1


def test_a_file_that_is_something_else_stays_as_it_is(path: Path) -> None:
    for content in (b"a letter", b"a letter\nof two lines\n", b'{"kind": "end'):
        path.write_bytes(content)
        with pytest.raises(StateError, match="not the diary of a pretraining"):
            Diary(path, MACHINE)
        assert path.read_bytes() == content
    with pytest.raises(StateError, match="cannot be opened: Is a directory"):
        Diary(path.parent, MACHINE)


def test_the_course_after_a_resume_supersedes_the_one_before(path: Path) -> None:
    with Diary(path, MACHINE) as written:
        tell(written, range(27))
    with Diary(path, MACHINE) as written:
        tell(written, range(20, 40))
    found = diary.read(path)
    assert [r.step for r in found.steps] == list(range(40))
    assert [[r.step for r in course] for course in found.left] == [list(range(20, 27))]
    assert [e.step for e in found.evaluations] == [10, 20, 30, 40]
    assert [k.step for k in found.checkpoints] == [10, 20, 30, 40]


def test_what_followed_the_checkpoint_that_is_gone_back_to_is_left(path: Path) -> None:
    with Diary(path, MACHINE) as written:
        tell(written, range(30))
        spike(written, 30, 20)
        tell(written, range(20, 40))
    found = diary.read(path)
    assert [r.loss for r in found.steps] == [step(n).loss for n in range(40)]
    assert [r.loss for r in found.left[0][-2:]] == [14.0, 15.0]
    assert [e.step for e in found.evaluations] == [10, 20, 30, 40]
    assert [t.step for t in found.treatments] == [32]


@given(st.lists(st.integers(0, 12), max_size=40))
def test_each_step_of_the_course_is_the_last_one_of_its_number(numbers: list[int]) -> None:
    record = Record()
    for place, number in enumerate(numbers):
        record.add(step(number, loss=float(place)))
    told = [r.step for r in record.steps]
    assert told == sorted(set(told))
    for place, number in enumerate(numbers):
        superseded = any(later <= number for later in numbers[place + 1 :])
        assert (step(number, loss=float(place)) in record.steps) is not superseded
    assert len(record.steps) + sum(map(len, record.left)) == len(numbers)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"\n", "line 2: not of a diary"),
        (b"[]\n", "line 2: not of a diary"),
        (b'{"kind": "else", "at": 1}\n', "line 2: not of a diary: 'else'"),
        (b'{"kind": "step", "at": 1, "step": 1}\n', "line 2: steps: Field required"),
        (b'{"kind": "treatment", "at": 1, "step": 1, "name": "pray"}\n', "line 2: .*'pray'"),
        (b"\xff\xfe\n", "line 2: not of a diary"),
        (b"x" * diary.LONGEST, "line 2: not of a diary"),
        (b"[" * 100_000 + b"\n", "line 2: not of a diary"),
    ],
    ids=["empty", "list", "kind", "field", "treatment", "bytes", "long", "deep"],
)
def test_a_line_that_is_none_is_named(path: Path, line: bytes, told: str) -> None:
    with Diary(path, MACHINE):
        pass
    with path.open("ab") as file:
        file.write(line)
    with pytest.raises(DataError, match=told):
        diary.read(path)


def test_what_is_not_there_or_of_another_format_is_told(path: Path) -> None:
    with pytest.raises(DataError, match=r"diary.jsonl: cannot be read: No such file"):
        diary.read(path)
    path.write_text("")
    with pytest.raises(DataError, match="not the diary of a pretraining"):
        diary.read(path)


def test_a_disk_that_is_full_is_told_and_spoils_nothing(path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Diary(path, MACHINE) as written:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(OSError, match=r"diary.jsonl: the disk is full"):
                tell(written, range(100))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.stat().st_size == 1000
    kept = len(diary.read(path).steps)
    with Diary(path, MACHINE) as written:
        tell(written, range(kept, 20))
    assert [r.step for r in diary.read(path).steps] == list(range(20))


WRITER = """
import sys
from pathlib import Path
from server.pretraining.monitoring.reported import MACHINE, step
from fedward_server.pretraining.monitoring.diary import Diary
with Diary(Path(sys.argv[1]), MACHINE) as written:
    for number in range(10_000_000):
        written.step(step(number))
        if number == 500:
            print(flush=True)
"""


def test_a_process_that_is_killed_leaves_all_its_lines(path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    with Diary(path, MACHINE):
        pass
    found = diary.read(path)
    assert len(found.steps) > 500
    assert [r.step for r in found.steps] == list(range(len(found.steps)))
