"""A file is wholly the old one or wholly the new one, whatever happens while it is written."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fedward_shared.files import write_atomically

OLD, NEW = b"old" * 50_000, b"new" * 60_000

FULL_DISK = """
import resource, sys
from pathlib import Path
from fedward_shared.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
write_atomically(Path(sys.argv[1]), b"new" * 60_000)
"""


def test_a_new_file_holds_the_bytes_and_its_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, NEW, mode=0o600)
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_mode_is_that_of_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, OLD, mode=0o600)
    write_atomically(path, NEW)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_write_that_breaks_off_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False
    )
    assert "File too large" in child.stderr
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_cannot_be_taken_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "file", NEW)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    done = threading.Event()
    seen = []

    def read() -> None:
        while not done.is_set():
            try:
                seen.append(path.read_bytes())
            except FileNotFoundError:
                seen.append(b"")

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        write_atomically(path, OLD if number % 2 else NEW)
    done.set()
    reader.join()
    assert set(seen) <= {OLD, NEW}
    assert len(seen) > 1
