"""Whatever is in a file, a reader finds documents, or says that it is unreadable."""

import random
from pathlib import Path

import pytest
from client.preparation.made import good, mangled
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation import readers
from fedward_client.preparation.documents import (
    Document,
    Person,
    Picture,
    Remark,
    decode,
    encode,
)
from fedward_client.preparation.mask import Mask
from fedward_shared.errors import Unreadable

GOOD = good()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, of what it sees

SPOILT = 200


def outcome(path: Path) -> object:
    try:
        found = list(readers.read(path, path.name, Mask(0.25, 0, 0, 0)))
    except Unreadable as error:
        return str(error)
    assert all(isinstance(one, Document | Picture | Person | Remark) for one in found)
    assert [decode(encode(one)) for one in found] == found
    return [encode(one) for one in found]


@pytest.mark.parametrize("name", GOOD)
def test_spoilt_files_are_documents_or_unreadable_and_twice_the_same(
    tmp_path: Path, name: str
) -> None:
    draw = random.Random(name)
    path = tmp_path / name
    path.write_bytes(GOOD[name])
    assert isinstance(outcome(path), list)
    for _ in range(SPOILT):
        path.write_bytes(mangled(GOOD[name], draw))
        assert outcome(path) == outcome(path)


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_is_told_from_a_file_of_one_byte_and_of_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert outcome(path) == "the file is empty"
    path.write_bytes(b"\0")
    assert isinstance(outcome(path), str)


@given(data=st.binary(max_size=300), ending=st.sampled_from(sorted(GOOD)))
def test_anything_under_any_ending(tmp_path_factory: pytest.TempPathFactory, data, ending) -> None:
    path = tmp_path_factory.getbasetemp() / f"anything-{ending}"
    path.write_bytes(data)
    outcome(path)
