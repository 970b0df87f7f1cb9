"""Rows: each token of a stream once, documents told apart, positions from 0 on in each."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server.pretraining.corpus.written import write_corpus

from fedward_server.pretraining.corpus.packing import Packed, Rows, packed

PAD = 9
DOCUMENTS = st.lists(st.lists(st.integers(10, 70), min_size=1, max_size=12), min_size=1, max_size=8)


def rows(folder: Path, documents: list[list[int]], length: int, whole: bool) -> Packed:
    """All rows, of documents in two shards."""
    cut = len(documents) // 2
    shards = [part for part in (documents[:cut], documents[cut:]) if part]
    source = write_corpus(folder, {"icd": shards}).sources["icd"]
    found = Rows(source, length, whole)
    return packed([found.read(number) for number in range(len(found))], length, PAD)


@settings(max_examples=25)
@given(DOCUMENTS, st.integers(1, 15))
def test_packed_rows_are_the_stream_with_its_documents(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], length: int
) -> None:
    found = rows(tmp_path_factory.mktemp("corpus"), documents, length, whole=True)
    stream = [(token, number) for number, document in enumerate(documents) for token in document]
    assert len(found.tokens_BT) == len(stream) // length
    for row in range(len(found.tokens_BT)):
        part = stream[row * length : (row + 1) * length]
        assert found.tokens_BT[row].tolist() == [token for token, _ in part]
        numbers = np.array([number for _, number in part])
        assert found.documents_BT[row].tolist() == (numbers - numbers[0] + 1).tolist()
        expected = [(numbers[:place] == numbers[place]).sum() for place in range(length)]
        assert found.positions_BT[row].tolist() == expected


@settings(max_examples=25)
@given(DOCUMENTS, st.integers(1, 15))
def test_unpacked_rows_have_one_document_each_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], length: int
) -> None:
    found = rows(tmp_path_factory.mktemp("corpus"), documents, length, whole=False)
    pieces = [
        document[start : start + length]
        for document in documents
        for start in range(0, len(document), length)
    ]
    assert len(found.tokens_BT) == len(pieces)
    for row, piece in enumerate(pieces):
        rest = length - len(piece)
        assert found.tokens_BT[row].tolist() == piece + [PAD] * rest
        assert found.documents_BT[row].tolist() == [1] * len(piece) + [0] * rest
        assert found.positions_BT[row, : len(piece)].tolist() == list(range(len(piece)))
