"""How the head that finds names is judged: templates apart, the highest cut that reaches the aim."""

import numpy as np

from fedward_client.preparation.identifiers.spans import Kind
from fedward_client.preparation.identifiers.tagger import places
from fedward_simulations import names
from fedward_simulations.data.named_templates import NAMED, NOBODY
from fedward_simulations.data.planted import Planted, Text
from fedward_simulations.data.planted_templates import HELD_OUT


def _samples(texts: list[Text], is_name_N: list[bool]) -> names.Samples:
    counts = [len(places(text.text)) for text in texts]
    return names.Samples(
        [names.Sample(text, group) for group, text in enumerate(texts)],
        "sha256:0",
        np.zeros((len(is_name_N), 1), np.float32),
        np.array(is_name_N),
        np.ones(len(is_name_N), bool),
        np.repeat(np.arange(len(texts)), counts),
    )


def test_no_template_of_training_is_held_out() -> None:
    assert {t.text for t in (*NAMED, *NOBODY)}.isdisjoint(t.text for t in HELD_OUT)


def test_the_highest_cut_that_finds_enough_is_chosen() -> None:
    named = Text("the knee of Qorb hurts", (Planted(Kind.NAME, 12, 16),), "en")
    nobody = Text("the Hip hurts", (), "en")
    samples = _samples([named, nobody], [False, False, False, True, False, False, False, False])
    probability_N = np.array([0, 0, 0, 0.72, 0, 0, 0.6, 0], np.float32)
    found = names.chosen(samples, probability_N)
    assert (found.cut, found.names, found.found, found.by_rules) == (0.7, 1, 1.0, 0.0)
    assert (found.wrong, found.of_nobody) == (0.0, 0.0)
    lower = names.measure(samples, probability_N, [[], []], 0.55)
    assert (lower.wrong, round(lower.of_nobody)) == (0.5, 333)
    assert names.chosen(samples, probability_N / 4).cut == names.CUTS[0]


def test_texts_lose_their_capitals_without_moving() -> None:
    text = Text("Groß İpek saw Weiß", (Planted(Kind.NAME, 0, 9),), "de")
    changed = [
        sample.text.text
        for seed in range(40)
        for sample in names._recased([names.Sample(text, 0)], seed)
    ]
    assert {len(one) for one in changed} == {len(text.text)}
    assert len(set(changed)) == 3
