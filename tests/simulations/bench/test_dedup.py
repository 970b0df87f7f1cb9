"""Near-duplicates that a benchmark plants, and how it counts them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_simulations.bench import dedup
from fedward_simulations.bench.dedup_texts import alike, planted, shingles

TEXTS = [
    f"seen on day {n} of {n % 7} for a cough and then sent home with advice" for n in range(60)
]


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=8))
def test_all_pairs_are_those_that_sets_say(sets: list[set[str]]) -> None:
    expected = {
        (first, second)
        for second, one in enumerate(sets)
        for first, other in enumerate(sets[:second])
        if len(one & other) >= 0.5 * len(one | other)
    }
    assert alike(sets, 0.5) == expected


def test_shingles_are_words_or_characters_as_the_script_has_it() -> None:
    assert shingles("No fever, no cough") == {"no fever no", "fever no cough"}
    assert shingles("患者否认胸痛") == {"患 者 否 认 胸", "者 否 认 胸 痛"}
    assert shingles("!") == {""}


def test_planted_texts_come_after_and_differ_a_little() -> None:
    texts = planted([*TEXTS, "患者否认胸痛及发热"], 0)
    assert texts[:61] == [*TEXTS, "患者否认胸痛及发热"]
    assert len(texts) == 61 + 15
    assert planted([*TEXTS, "患者否认胸痛及发热"], 0) == texts


def test_ours_and_the_peer_keep_as_many_and_miss_little(tmp_path: Path) -> None:
    pytest.importorskip("datasketch")
    texts = planted(TEXTS, 0)
    (tmp_path / "ours").mkdir()
    assert dedup._ours(texts, tmp_path / "ours") == dedup._peer(texts, tmp_path)
    missed, _, unreported, wrong = dedup._quality("days", texts, tmp_path / "quality")
    assert missed.ours <= 5
    assert unreported.ours <= 20
    assert wrong.ours == 0
