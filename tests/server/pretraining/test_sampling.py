from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fedward_server.pretraining.sampling import Text, sample

TEXTS = st.lists(st.tuples(st.text(min_size=1, max_size=30), st.sampled_from(("en", "zh", "de"))))


def characters(texts: list[Text]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text, language in texts:
        counts[language] += len(text)
    return counts


@given(TEXTS, st.integers(1, 500), st.floats(0.1, 1), st.integers(0, 9))
def test_a_sample_has_as_many_characters_as_were_asked_for_and_no_others(
    texts: list[Text], wanted: int, smoothing: float, seed: int
) -> None:
    drawn = list(sample(iter(texts), wanted, smoothing, seed))
    assert drawn == list(sample(texts, wanted, smoothing, seed))
    have = characters(texts)
    expected = min(wanted, have.total())
    assert abs(characters(drawn).total() - expected) <= len(have)
    assert all(any(whole.startswith(text) for whole, _ in texts) for text, _ in drawn)


def test_a_small_language_gets_more_than_its_part_and_a_large_one_the_rest() -> None:
    texts = [(f"{n:010d}", "en") for n in range(9_900)] + [(f"{n:010d}", "zh") for n in range(100)]
    plain = characters(list(sample(texts, 20_000, 1.0, 1)))
    assert plain == {"en": 19_800, "zh": 200}
    smoothed = characters(list(sample(texts, 20_000, 0.3, 1)))
    assert smoothed["zh"] == round(20_000 / (1 + 99**0.3))  # 4,024, where it has 1,000


def test_another_seed_draws_other_texts_evenly_over_the_stream() -> None:
    texts = [(f"{n:010d}", "en") for n in range(2_000)]
    drawn = [{int(text) for text, _ in sample(texts, 2_000, 0.3, seed)} for seed in (1, 2)]
    assert all(len(numbers) == 200 for numbers in drawn)
    assert len(drawn[0] & drawn[1]) < 50
    assert 60 < sum(number < 1_000 for number in drawn[0]) < 140
