"""Documents as keys of bands."""

import numpy as np

from fedward_shared.duplicates.bands import Bands
from fedward_shared.text import BANDS
from fedward_shared.text.signatures import sketch

TEXTS = [
    "the patient has a cough and no fever since the last visit",
    "nothing in common with any of the others that are here today",
    "The patient has a cough, and no fever since the LAST visit",
    "no",
]


def test_each_key_is_an_element_once_and_equal_bands_share_it() -> None:
    bands = Bands.of(TEXTS, seed=3)
    assert len(bands) == len(TEXTS)
    assert len(set(bands.elements)) == len(bands.elements) == 3 * BANDS
    keys_DB = sketch(TEXTS, 3).keys_DB
    for document, keys_B in enumerate(keys_DB):
        for band, key in enumerate(keys_B):
            element = bands.elements[bands.element_DB[document, band]]
            assert element == bytes([band]) + int(key).to_bytes(8, "little")


def test_a_key_counts_for_every_document_that_has_it() -> None:
    bands = Bands.of(TEXTS, seed=3)
    rows = np.unique(bands.element_DB[0, :5])
    assert bands.shared(rows).tolist() == [5, 0, 5, 0]
    assert bands.shared(np.zeros(0, np.int64)).tolist() == [0, 0, 0, 0]


def test_short_texts_take_no_part_and_all_others_keep_their_numbers() -> None:
    assert Bands.of(TEXTS, seed=3, shortest=5).numbers_D.tolist() == [0, 1, 2]
    none = Bands.of(TEXTS, seed=3, shortest=1000)
    assert (len(none), none.elements) == (0, [])
    assert len(Bands.of([], seed=3)) == 0


def test_another_seed_gives_other_keys() -> None:
    assert not set(Bands.of(TEXTS, 3).elements) & set(Bands.of(TEXTS, 4).elements)
