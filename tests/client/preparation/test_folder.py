"""Every file of a folder is read or quarantined, and it is the same each time."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client.preparation.made import NOTE, good, mangled

from fedward_client.preparation import folder
from fedward_client.preparation.documents import Document, Picture, Remark, encode
from fedward_client.preparation.folder import Quarantined, Read
from fedward_client.preparation.mask import Mask
from fedward_client.preparation.sandbox import Sandbox
from fedward_shared.errors import DataError

GOOD = good()


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(mask=Mask(0.25, 0, 0, 0)) as box:
        yield box


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    ward = tmp_path / "ward"
    for at, names in {"": list(GOOD), "sub/deeper": ["a.txt", "letter.pdf"]}.items():
        (ward / at).mkdir(parents=True, exist_ok=True)
        for name in names:
            (ward / at / name).write_bytes(GOOD[name])
    (ward / "cut.pdf").write_bytes(GOOD["letter.pdf"][:-20])
    (ward / "unknown.bin").write_bytes(b"\0\1")
    (ward / "empty.csv").touch()
    return ward


def outcomes(ward: Path, box: Sandbox) -> dict[str, Read | Quarantined]:
    found = [one for one in folder.read(ward, box) if isinstance(one, Read | Quarantined)]
    assert len({one.file for one in found}) == len(found)
    return {one.file: one for one in found}


def test_every_file_is_read_or_quarantined(ward: Path, box: Sandbox) -> None:
    found = outcomes(ward, box)
    assert set(found) == {
        path.relative_to(ward).as_posix() for path in ward.rglob("*") if path.is_file()
    }
    quarantined = {file: one.reason for file, one in found.items() if isinstance(one, Quarantined)}
    assert quarantined == {
        "cut.pdf": "is cut off: no %%EOF at its end",
        "empty.csv": "the file is empty",
        "unknown.bin": "of no known kind, neither by its first bytes nor by its ending",
    }


def test_nothing_of_a_spoilt_folder_is_lost(tmp_path: Path, box: Sandbox) -> None:
    draw = random.Random("ward")
    for number in range(60):
        name = draw.choice(list(GOOD))
        (tmp_path / f"{number}-{name}").write_bytes(mangled(GOOD[name], draw))
    found = outcomes(tmp_path, box)
    assert set(found) == {path.name for path in tmp_path.iterdir()}
    assert {type(one) for one in found.values()} == {Read, Quarantined}
    assert outcomes(tmp_path, box) == found


def test_what_is_read_is_counted_and_comes_before_its_outcome(ward: Path, box: Sandbox) -> None:
    waiting = [0, 0]
    for one in folder.read(ward, box):
        if isinstance(one, Document | Picture):
            waiting[isinstance(one, Picture)] += 1
        elif isinstance(one, Read):
            assert [one.documents, one.pictures] == waiting
            assert sum(waiting) > 0
            assert one.size == (ward / one.file).stat().st_size
            waiting = [0, 0]
    assert waiting == [0, 0]


def test_the_same_folder_gives_the_same_bytes(ward: Path, box: Sandbox) -> None:
    def said() -> bytes:
        found = folder.read(ward, box)
        return b"".join(
            encode(one) if isinstance(one, Document | Picture | Remark) else repr(one).encode()
            for one in found
        )

    first = said()
    (ward / "a.txt").rename(ward / "moved")
    (ward / "moved").rename(ward / "a.txt")  # the folder lists it elsewhere now
    assert said() == first


def test_links_and_special_files_are_not_followed(ward: Path, box: Sandbox) -> None:
    (ward.parent / "secret.txt").write_text("secret")
    (ward / "out.txt").symlink_to(ward.parent / "secret.txt")
    (ward / "up").symlink_to(ward.parent)
    (ward / "in.txt").symlink_to(ward / "a.txt")
    (ward / "broken.txt").symlink_to(ward / "nothing")
    (ward / "loop").symlink_to(ward / "loop")
    os.mkfifo(ward / "pipe.txt")
    found = outcomes(ward, box)
    reasons = {file: one.reason for file, one in found.items() if isinstance(one, Quarantined)}
    assert reasons["out.txt"] == reasons["up"] == "a link that leads out of the folder"
    assert reasons["in.txt"] == "a link to what is read by its own name"
    assert reasons["broken.txt"] == reasons["loop"] == "a link to nothing"
    assert reasons["pipe.txt"] == "no ordinary file"


def test_a_name_that_is_no_utf8(ward: Path, box: Sandbox) -> None:
    Path(os.fsdecode(os.fsencode(ward) + b"/\xff.txt")).write_text(NOTE)
    assert outcomes(ward, box)[r"\udcff.txt"] == Quarantined(
        r"\udcff.txt", "its name is not UTF-8; rename it"
    )


class Disturbed(Sandbox):
    """Something happens to a file while it is read."""

    def __init__(self, happens: Callable[[Path], object]) -> None:
        super().__init__()
        self._happens = happens

    def read(self, path: Path, file: str) -> Iterator[Document | Remark]:
        yield from super().read(path, file)
        self._happens(path)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (lambda path: path.write_text("Other note."), "changed while it was read"),
        (lambda path: path.unlink(), "cannot be opened: No such file or directory"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "cannot be opened: "),
    ],
)
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, happens: Callable[[Path], object], reason: str
) -> None:
    (tmp_path / "a.txt").write_text(NOTE)
    with Disturbed(happens) as box:
        [one] = folder.read(tmp_path, box)
    assert isinstance(one, Quarantined)
    assert one.reason.startswith(reason)


def test_no_document_comes_out_of_a_file_that_is_broken_further_down(
    tmp_path: Path, box: Sandbox
) -> None:
    (tmp_path / "a.csv").write_text("text\nCough.\nFever,2\n")
    assert [*folder.read(tmp_path, box)] == [
        Quarantined("a.csv", "line 3: 2 values under 1 columns")
    ]


def test_no_folder(tmp_path: Path, box: Sandbox) -> None:
    with pytest.raises(DataError, match="no such folder"):
        list(folder.read(tmp_path / "ward", box))
