from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_server.pretraining.corpus.augmenting import (
    CodeSwitching,
    parallel,
    read_lexicon,
    switched,
)
from fedward_shared.errors import DataError

PAIR = (("heart disease", "en"), ("心脏病", "zh"))
LEXICON = {"heart": ("心脏",), "disease": ("病", "疾病"), "心脏": ("heart",)}


def test_a_pair_is_one_document_with_either_first() -> None:
    documents = [parallel(*PAIR, seed=1, number=number) for number in range(400)]
    assert documents == [parallel(*PAIR, seed=1, number=number) for number in range(400)]
    first = sum(document == PAIR for document in documents)
    assert 160 < first < 240
    assert all(document in (PAIR, PAIR[::-1]) for document in documents)
    assert documents != [parallel(*PAIR, seed=2, number=number) for number in range(400)]


def test_a_share_of_the_words_that_the_lexicon_has_is_switched() -> None:
    text = " ".join(["Heart, unknown disease."] * 1000)
    new = switched(text, "en", LEXICON, share=0.3, seed=1, number=7)
    assert new == switched(text, "en", LEXICON, share=0.3, seed=1, number=7)
    assert 240 < new.count("心脏") < 360
    assert 240 < new.count("病") < 360
    assert 100 < new.count("疾病") < 200
    assert new.count("unknown") == 1000
    assert switched(text, "en", LEXICON, share=1, seed=1, number=7).count("Heart") == 0


def test_more_words_in_the_lexicon_move_no_others() -> None:
    text = " ".join(["heart of a disease"] * 200)
    less = switched(text, "en", {"heart": ("X",)}, share=0.5, seed=1, number=1).split()
    more = switched(text, "en", {"heart": ("X",), "of": ("Y",)}, share=0.5, seed=1, number=1)
    assert [word == "X" for word in less] == [word == "X" for word in more.split()]


def test_chinese_words_are_switched() -> None:
    assert switched("心脏 很好", "zh", LEXICON, share=1, seed=1, number=1) == "heart 很好"


@given(st.text(), st.integers(0, 99))
def test_a_text_without_words_of_the_lexicon_stays(text: str, number: int) -> None:
    assert switched(text, "en", {"\0": ("x",)}, share=1, seed=1, number=number) == text.replace(
        "\0", "x"
    )


def test_lexicons_are_read_of_both_kinds_with_many_translations(tmp_path: Path) -> None:
    tsv, jsonl = tmp_path / "l.tsv", tmp_path / "l.jsonl"
    tsv.write_text("Heart\t心脏\n\ndisease\t病\ndisease\t疾病\n心脏\theart\n", "utf-8")
    jsonl.write_text(
        '["heart", "心脏"]\n{"en": "disease", "zh": "病"}\n["disease", "疾病"]\n\n["心脏", "heart"]\n',
        "utf-8",
    )
    assert read_lexicon(tsv) == read_lexicon(jsonl) == LEXICON
    terms = CodeSwitching(lexicon=tsv, language="en")
    assert terms.share == 0.2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.tsv", b"heart\n", "line 1: expected two words"),
        ("l.tsv", b"a\tb\na\t\n", "line 2: expected two words"),
        ("l.tsv", b"a\tb\tc\n", "line 1"),
        ("l.tsv", b"\n", "no pair"),
        ("l.tsv", b"\xff\t\xfe\n", "cannot be read"),
        ("l.jsonl", b'["a", 1]\n', "line 1"),
        ("l.jsonl", b'"ab"\n', "line 1"),
        ("l.jsonl", b"{\n", "cannot be read"),
    ],
)
def test_what_is_no_pair_of_words_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_lexicon(tmp_path / name)


def test_a_lexicon_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_lexicon(tmp_path / "none.tsv")
