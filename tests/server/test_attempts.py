"""The book of attempts: no number twice, and no round that sites have answered for."""

from pathlib import Path

import pytest

from fedward_server.attempts import FILE, AttemptBook
from fedward_shared.errors import StateError


def test_a_process_after_another_never_uses_an_attempt_twice(tmp_path: Path) -> None:
    assert [AttemptBook(tmp_path).begin(3) for _ in range(3)] == [1, 2, 3]
    assert AttemptBook(tmp_path).begin(4) == 1
    assert AttemptBook(tmp_path).last.round == 4


def test_it_knows_that_sites_may_have_agreed_until_the_next_round(tmp_path: Path) -> None:
    book = AttemptBook(tmp_path)
    book.begin(1)
    assert not AttemptBook(tmp_path).answered_for(1)
    book.agreeing()
    assert AttemptBook(tmp_path).answered_for(1)
    assert not AttemptBook(tmp_path).answered_for(2)
    AttemptBook(tmp_path).begin(2)
    assert not AttemptBook(tmp_path).answered_for(2)


@pytest.mark.parametrize("content", [b"", b"{", b'{"round": "x"}', b'{"round": 1, "more": 2}'])
def test_a_damaged_book_stops_the_study_and_stays(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StateError, match=r"attempt\.json: cannot be read"):
        AttemptBook(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content
