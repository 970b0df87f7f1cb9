"""The parent survives whatever its reader does, and says which file it was."""

import os
import sys
from pathlib import Path

import pytest
from client.preparation.made import NOTE

from fedward_client.preparation import sandbox
from fedward_client.preparation.documents import Document
from fedward_client.preparation.sandbox import COMMAND, Bounds, Sandbox
from fedward_shared.errors import MissingExtra, Unreadable

FOUND = '{"text": "x", "file": "a.txt", "place": "", "reader": "", "fields": {}}'
BODIES = {
    "crash": ("os.kill(os.getpid(), 11)", "died of signal 11"),
    "exit": ("sys.exit(1)", r"died of an error \(exit code 1\)"),
    "memory": ("sys.exit(75)", "needs more than 2,048 MiB of memory"),
    "processor": ("os.kill(os.getpid(), 24)", "needs more than 300 seconds of processor"),
    "loop": (
        "from fedward_client.preparation import child; child.grant(0)\nwhile True: pass",
        "needs more than 300 seconds of processor",
    ),
    "silence": ("input()", "took longer than 0.3 seconds"),
    "endless line": ("while True: sys.stdout.write('+' * 2**20)", "what is no answer"),
    "endless": ("while True: print('+' + found)", "unpacks to more than"),
    "garbage": ("print('garbage')", "what is no answer"),
    "half": ("print('+{')", "what is no document"),
    "other file": ("print('+' + found.replace('a.txt', 'b'))", "spoke of another file"),
    "no reason": ("print('!7')", "gave no reason"),
    "after a document": ("print('+' + found, flush=True); sys.exit(1)", "died of an error"),
}


def saying(body: str) -> tuple[str, ...]:
    """A reader that does that for its first file."""
    return (sys.executable, "-c", f"import os, sys\nfound = '{FOUND}'\ninput()\n{body}")


def read(box: Sandbox, path: Path) -> list[object]:
    return list(box.read(path, "a.txt"))


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text(NOTE)
    return path


@pytest.mark.parametrize("kind", BODIES)
def test_whatever_a_reader_does(note: Path, kind: str) -> None:
    body, reason = BODIES[kind]
    patience = 0.3 if kind == "silence" else 60
    bounds = Bounds(seconds=patience, output=2**27 if kind == "endless line" else 2**20)
    with Sandbox(bounds, saying(body)) as box, pytest.raises(Unreadable, match=reason):
        read(box, note)


def test_another_process_reads_after_one_has_died(note: Path) -> None:
    with Sandbox() as box:
        assert len(read(box, note)) == 1
        box._command = saying("sys.exit(1)")
        box.close()
        with pytest.raises(Unreadable):
            read(box, note)
        box._command = COMMAND
        [found] = read(box, note)
        assert isinstance(found, Document)
        assert found.text == NOTE


def test_one_process_reads_many_files_until_it_is_replaced(
    note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "FILES_A_PROCESS", 3)
    ids = []
    with Sandbox() as box:
        for _ in range(6):
            read(box, note)
            assert box._process is not None
            ids.append(box._process.pid)
    assert len(set(ids[:3])) == 1
    assert len(set(ids)) == 2


def test_a_reader_that_was_left_half_way_is_not_asked_again(note: Path) -> None:
    with Sandbox() as box:
        next(iter(box.read(note, "a.txt")))
        assert len(read(box, note)) == 1


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 2**26)
    with Sandbox(Bounds(memory=2**27)) as box:
        with pytest.raises(Unreadable, match="needs more than 128 MiB of memory"):
            read(box, path)
        path.write_text(NOTE)
        assert len(read(box, path)) == 1


def test_it_has_no_environment_and_writes_no_file(
    tmp_path: Path, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    with Sandbox() as box:
        read(box, note)
        assert box._process is not None
        proc = Path("/proc") / str(box._process.pid)
        names = {line.partition(b"=")[0] for line in (proc / "environ").read_bytes().split(b"\0")}
        assert names - {b""} <= {b"PYTHONPATH", *map(os.fsencode, sandbox.THREADS)}
        limits = (proc / "limits").read_text()
    assert [line.split()[3:5] for line in limits.splitlines() if "Max file size" in line] == [
        ["0", "0"]
    ]


def test_a_missing_library_is_no_fault_of_the_file(note: Path) -> None:
    body = """print('?"pypdf is not installed"')"""
    with Sandbox(command=saying(body)) as box, pytest.raises(MissingExtra, match="pypdf"):
        read(box, note)
