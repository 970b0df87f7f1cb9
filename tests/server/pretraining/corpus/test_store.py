"""A corpus on disk: what is read is what was written, and nothing half is taken for a corpus."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server.pretraining.corpus.written import write_corpus

from fedward_server.pretraining.corpus import store
from fedward_server.pretraining.corpus.store import Store
from fedward_shared.errors import DataError, StateError

SHARDS = st.lists(
    st.lists(st.lists(st.integers(0, 70_000), min_size=1, max_size=9), min_size=1, max_size=5),
    max_size=4,
)


def write(folder: Path, shards: list[list[list[int]]], vocabulary: int = 70_001) -> Store:
    return write_corpus(folder, {"icd": shards}, vocabulary)


@settings(max_examples=25)
@given(SHARDS, st.data())
def test_any_piece_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, shards: list[list[list[int]]], data: st.DataObject
) -> None:
    source = write(tmp_path_factory.mktemp("corpus"), shards).sources["icd"]
    documents = [document for shard in shards for document in shard]
    tokens = [token for document in documents for token in document]
    ends = np.cumsum([0, *map(len, documents)]).tolist()
    start = data.draw(st.integers(0, len(tokens)))
    stop = data.draw(st.integers(start, len(tokens)))
    piece = source.read(start, stop)
    assert piece.tokens_N.tolist() == tokens[start:stop]
    assert piece.begins.tolist() == [end - start for end in ends if start < end < stop]
    assert source.sizes().tolist() == [len(document) for document in documents]
    assert (source.tokens, source.documents) == (len(tokens), len(documents))
    source.check()


def test_a_vocabulary_that_fits_is_kept_in_two_bytes(tmp_path: Path) -> None:
    small = write(tmp_path / "small", [[[1, 65_535]]], 65_536)
    large = write(tmp_path / "large", [[[1, 65_536]]], 65_537)
    assert small.sources["icd"].read(0, 2).tokens_N.dtype == np.uint16
    assert large.sources["icd"].read(0, 2).tokens_N.tolist() == [1, 65_536]


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    source = write(tmp_path, [[[1, 2], [3]]]).sources["icd"]
    with pytest.raises(IndexError, match="tokens 2 to 4 of 3"):
        source.read(2, 4)


def test_the_digest_stands_for_every_token(tmp_path: Path) -> None:
    first = write(tmp_path / "first", [[[1, 2], [3]]])
    again = write(tmp_path / "again", [[[1, 2], [3]]])
    other = write(tmp_path / "other", [[[1], [2, 3]]])
    assert first.digest == again.digest != other.digest


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    corpus = write(tmp_path, [[[1, 2]], [[3, 4]]])
    path = tmp_path / "icd-00001.tokens"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(StateError, match=r"icd-00001\.tokens: damaged; delete the folder"):
        corpus.check()


def test_a_shard_that_is_cut_off_or_missing_is_seen_at_once(tmp_path: Path) -> None:
    write(tmp_path, [[[1, 2]], [[3, 4]]])
    path = tmp_path / "icd-00000.tokens"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StateError, match=r"icd-00000\.tokens: has 15 bytes, not 16"):
        Store(tmp_path)
    path.unlink()
    with pytest.raises(StateError, match=r"icd-00000\.tokens: is missing"):
        Store(tmp_path)


def test_a_folder_without_a_whole_corpus_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no corpus; make one"):
        Store(tmp_path)
    store.begin(tmp_path, {})
    with pytest.raises(StateError, match="not finished; begin its making again"):
        Store(tmp_path)
    (tmp_path / store.MANIFEST).write_bytes(b'{"format": "fedward/another"}')
    with pytest.raises(StateError, match=r"manifest.json: damaged: format: .*sources"):
        Store(tmp_path)
    (tmp_path / store.MANIFEST).write_bytes(b"\xff")
    with pytest.raises(StateError, match=r"manifest.json: damaged"):
        Store(tmp_path)


def test_another_input_is_named(tmp_path: Path) -> None:
    before = {"tokenizer": "a", "sources": {"icd": {"content": "1"}, "zh": {"content": "2"}}}
    store.begin(tmp_path, before)
    store.begin(tmp_path, before)
    now = {"tokenizer": "b", "sources": {"icd": {"content": "1"}, "zh": {"content": "3"}}}
    with pytest.raises(StateError, match=r"begun with other sources\.zh\.content, tokenizer; take"):
        store.begin(tmp_path, now)


def test_a_shard_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    def stopped() -> None:
        with store.shard_written(tmp_path, "icd", 0, np.dtype("<u2")) as shard:
            shard.add([1, 2, 3])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []
