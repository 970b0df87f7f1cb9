"""Documents on the pipe: what goes in comes out, and nothing else does."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_client.preparation import documents
from fedward_client.preparation.documents import FIELDS, KINDS, Document, Origin, decode, encode
from fedward_shared.errors import Unreadable

TEXT = st.text(st.characters(codec=None), max_size=50)
ORIGIN = Origin("ward/a.txt", "plain/1")


@given(text=TEXT, place=TEXT, fields=st.dictionaries(st.sampled_from(sorted(FIELDS)), TEXT))
def test_a_document_survives_the_pipe(text: str, place: str, fields: dict[str, str]) -> None:
    found = ORIGIN.document(place, text, **fields)
    line = encode(found)
    assert line.count(b"\n") == 1
    assert decode(line) == found
    assert encode(decode(line)) == line
    assert decode(encode(ORIGIN.remark(place, text))) == ORIGIN.remark(place, text)
    found.text.encode()  # no half of a character is left


@given(
    pixels=st.tuples(st.integers(1, 20), st.integers(1, 20), st.booleans(), st.integers(0, 9)),
    place=TEXT,
    fields=st.dictionaries(st.sampled_from(sorted(FIELDS)), TEXT),
)
def test_a_picture_survives_the_pipe(
    pixels: tuple[int, int, bool, int], place: str, fields: dict[str, str]
) -> None:
    height, width, colour, seed = pixels
    shape = (height, width, 3) if colour else (height, width)
    pixel_HW = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    found = ORIGIN.picture(place, pixel_HW, **fields)
    line = encode(found)
    assert line.count(b"\n") == 1
    assert decode(line) == found
    assert encode(decode(line)) == line


def test_the_largest_picture_fits_the_pipe() -> None:
    side = documents.png.LARGEST_SIDE
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    assert len(encode(ORIGIN.picture("frame 1", noise))) < documents.LONGEST_LINE // 2


@pytest.mark.parametrize(
    "change",
    [
        {"png": 7},
        {"png": ""},
        {"png": "AAAA"},
        {"png": " "},
        {"text": "x"},
        {"fields": {"name": "Doe"}},
        {"fields": None},
    ],
    ids=str,
)
def test_nothing_else_is_a_picture(change: dict[str, object]) -> None:
    body = json.loads(encode(ORIGIN.picture("frame 1", np.zeros((3, 3), np.uint8), unit="7")))
    with pytest.raises(Unreadable):
        decode(json.dumps(body | change).encode())
    with pytest.raises(Unreadable):
        decode(json.dumps(body | {"png": body["png"] + "\n"}).encode())
    words = base64.b64decode(body["png"])[:-12] + b"\0\0\0\x04tEXtDoe\0"
    with pytest.raises(Unreadable):
        decode(json.dumps(body | {"png": base64.b64encode(words).decode()}).encode())


@given(unit=TEXT, known=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), TEXT), max_size=80))
def test_a_person_survives_the_pipe(unit: str, known: list[tuple[str, str]]) -> None:
    for found in ORIGIN.person("PID", unit, known):
        assert 0 < len(found.known) <= documents.MOST_OF_A_PERSON
        assert decode(encode(found)) == found
    if unit.strip() and any(value.strip() for _, value in known):
        assert list(ORIGIN.person("PID", unit, known))


@pytest.mark.parametrize(
    "change",
    [
        {"unit": ""},
        {"unit": 1},
        {"unit": "x" * (documents.MOST_OF_A_FIELD + 1)},
        {"known": []},
        {"known": "name"},
        {"known": [["name"]]},
        {"known": [["name", 1]]},
        {"known": [["name", ""]]},
        {"known": [["height", "180"]]},
        {"known": [["name", "x"]] * (documents.MOST_OF_A_PERSON + 1)},
        {"text": ""},
    ],
    ids=str,
)
def test_nobody_else_is_a_person(change: dict[str, object]) -> None:
    [found] = ORIGIN.person("PID", "7", [("name", "Doe")])
    body = json.loads(encode(found))
    with pytest.raises(Unreadable):
        decode(json.dumps(body | change).encode())


@given(data=st.binary(max_size=200))
def test_garbage_is_no_document(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(data)


@pytest.mark.parametrize(
    "change",
    [
        {"text": 1},
        {"fields": {"name": "Doe"}},
        {"fields": {"unit": 1}},
        {"fields": []},
        {"more": ""},
        {"text": "\ud800"},
        {"text": "x" * (documents.MOST_CHARACTERS + 1)},
        {"fields": {"unit": "x" * (documents.MOST_OF_A_FIELD + 1)}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_as_it_was_encoded_is_refused(change: dict[str, object]) -> None:
    body = json.loads(encode(ORIGIN.document("line 1", "Cough.", unit="7")))
    with pytest.raises(Unreadable):
        decode(json.dumps(body | change).encode())
    with pytest.raises(Unreadable):
        decode(b"[" * 100_000)


def test_bounds_name_the_place() -> None:
    with pytest.raises(Unreadable, match="page 3: a text of more than"):
        ORIGIN.document("page 3", "x" * (documents.MOST_CHARACTERS + 1))
    with pytest.raises(Unreadable, match="page 3: no document has a field"):
        ORIGIN.document("page 3", "x", name="Doe")


def test_the_longest_document_fits_the_pipe() -> None:
    longest = "\U0001f600" * documents.MOST_CHARACTERS
    assert len(encode(ORIGIN.document("x", longest))) < documents.LONGEST_LINE
    assert isinstance(decode(encode(ORIGIN.document("x", longest))), Document)
