"""Shingles of whole batches against shingles written out one after the other."""

import re
import unicodedata
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedward_shared.text.shingles import UNSPACED, spans

PARTS = [
    *("fever", "Fever", "no", "chest", "pain", "5", "µg", "ﬁ", "Ａ", " ", "  ", ".", "—", "\n"),
    *("患", "者", "发", "热", "ไ", "ข้", "カ", "ハ", "한국어", "नमस्ते"),
    chr(0),
    chr(0xD800),
]
TEXT = st.lists(st.sampled_from(PARTS), max_size=25).map("".join)


def unspaced(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in UNSPACED)


def written_out(text: str) -> list[tuple[str, ...]]:
    tokens: list[str] = []
    for word in re.split(r"\s+", unicodedata.normalize("NFKC", text).casefold()):
        run = ""
        for character in word:
            letter = unicodedata.category(character)[0] in "LMN"
            if letter and not unspaced(character):
                run += character
                continue
            tokens += [run] if run else []
            run = ""
            tokens += [character] if letter else []
        tokens += [run] if run else []
    found = []
    for place, token in enumerate(tokens):
        size = 5 if unspaced(token[0]) else 3
        if place + size <= len(tokens) or place == 0:
            found.append(tuple(tokens[place : place + size]))
    return found or [()]


@given(st.lists(TEXT, min_size=1, max_size=6))
@example(["", "ab c d", "a bc d", "a b", "!"])
def test_equal_shingles_and_only_those_have_equal_hashes(texts: list[str]) -> None:
    expected = [written_out(text) for text in texts]
    hashes_S, starts = spans(texts)
    assert np.diff(starts).tolist() == [len(shingles) for shingles in expected]
    known: dict[tuple[str, ...], int] = {}
    for shingle, hashed in zip(chain(*expected), hashes_S.tolist(), strict=True):
        assert known.setdefault(shingle, hashed) == hashed
    assert len(set(known.values())) == len(known)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("no acute distress today", 2),
        ("Patient denies chest pain.", 2),
        ("患者否认胸痛及发热", 5),
        ("ผู้ป่วยปฏิเสธ", 9),
        ("환자는 흉통을 부인함", 1),
        ("short", 1),
    ],
)
def test_a_script_without_spaces_is_cut_by_characters(text: str, count: int) -> None:
    assert len(spans([text]).hashes_S) == count


def test_letter_case_white_space_forms_and_punctuation_say_nothing() -> None:
    hashes_S, starts = spans(["ＦＥＶＥＲ,  and\tchills!", "fever and chills"])
    assert starts.tolist() == [0, 1, 2]
    assert hashes_S[0] == hashes_S[1]
