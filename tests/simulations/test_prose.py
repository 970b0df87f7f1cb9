"""Undamaged texts: of every source, within bounds, the same for a seed."""

from collections import Counter
from itertools import islice

import pytest

from fedward_simulations.data import prose


def test_every_source_gives_its_texts() -> None:
    pytest.importorskip("clinosim")
    texts = prose.load(0, per_source=12)
    counts = Counter(text.source for text in texts)
    assert counts.keys() == {"visits", "diagnoses", "leaflets", "prose", "drugs", prose.PROBE}
    assert {counts[source] for source in ("diagnoses", "leaflets", "prose", "drugs")} == {12}
    assert all(text.text.strip() for text in texts)
    medicines: dict[str, str] = {}
    for text in texts:
        if text.source == "drugs":
            for line in text.text.replace("; ", "\n").replace(", ", "\n").splitlines():
                assert medicines.setdefault(line, text.group) == text.group


def test_paragraphs_are_sentences() -> None:
    texts = [text.text for text in islice(prose.paragraphs(), 60)]
    assert len(texts) == 60
    assert all(prose.SHORTEST <= len(text) <= prose.LONGEST for text in texts)
    assert all(text.endswith(".") for text in texts)
