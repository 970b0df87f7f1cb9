"""What the daemon hands to a worker of another user, and what it may not."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedward_client.post import WorkerUser
from fedward_client.worker import Handover, prepare
from fedward_shared.errors import FedwardError

NOBODY, SOMEBODY, GROUP = 65534, 65533, 65532
root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def as_user(user: int, groups: list[int], call: Callable[[], object]) -> str:
    """What `call` raises in a process of that user and those groups; empty for nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            call()
        except FedwardError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of NOBODY in places that everybody may enter."""
    place = Path("/tmp") / f"fedward-{os.getpid()}-{tmp_path.name[:20]}"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    yield place
    for path in sorted(place.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    place.rmdir()


@root
def test_a_member_of_the_workers_group_needs_no_other_right(open_folder: Path) -> None:
    file = open_folder / "university.node.key"
    file.write_text("secret")
    os.chown(file, NOBODY, NOBODY)
    worker = WorkerUser("fedward-worker", SOMEBODY, GROUP)
    assert as_user(NOBODY, [GROUP], lambda: worker.give(file)) == ""
    assert (file.stat().st_uid, file.stat().st_gid) == (NOBODY, GROUP)


@root
def test_others_are_told_what_is_missing(open_folder: Path) -> None:
    worker = WorkerUser("fedward-worker", SOMEBODY, GROUP)
    said = as_user(NOBODY, [], lambda: worker.give(open_folder))
    assert said == (
        f"{open_folder}: cannot be given to the worker: site.toml has worker_user = fedward-worker; "
        "start the daemon as root, or as a member of that user's group"
    )
    assert open_folder.stat().st_gid == NOBODY


def test_a_worker_of_the_same_user_is_given_nothing(tmp_path: Path) -> None:
    before = tmp_path.stat()
    WorkerUser(None, os.getuid(), None).give(tmp_path)
    assert tmp_path.stat() == before


def handover(home: Path) -> Handover:
    return Handover("university", "127.0.0.1:1", "ca", "key", "socket", str(home), 1, 0)


def test_the_worker_makes_its_own_folders(tmp_path: Path) -> None:
    home = tmp_path / "flower" / "university"
    prepare(handover(home))
    prepare(handover(home))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@root
def test_a_folder_that_is_not_the_workers(open_folder: Path) -> None:
    home = open_folder / "flower" / "university"
    said = as_user(SOMEBODY, [], lambda: prepare(handover(home)))
    assert said == (
        f"{home}: cannot be made: Permission denied; `cache` of site.toml has to be a folder of the "
        "worker's user"
    )
