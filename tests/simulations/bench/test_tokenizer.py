from pathlib import Path

import pytest
from server.pretraining.bilingual import reviews, titles

from fedward_simulations.bench import tokenizer
from fedward_simulations.data import base_models


def test_both_ways_make_chinese_shorter_and_leave_titles_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = [text for text, _ in titles()[::4]]
    monkeypatch.setattr(
        base_models, "smollm2", lambda cache: base_models.tiny_llama(cache, 1, texts)
    )
    corpora = {tokenizer.TITLES: list(titles()[::4]), "reviews": list(reviews()[:200])}
    monkeypatch.setattr(tokenizer, "installed", lambda: corpora)
    monkeypatch.setattr(tokenizer, "MERGES", 300)
    rows = {row.name: row for row in tokenizer.run(tmp_path)}
    for how in ("extended", "joined"):
        assert 100 < rows[f"{how}: tokens that were added"].ours <= 300
        assert rows[f"{how}: reviews: tokens per character"].ratio < 0.8
        assert rows[f"{how}: reviews: bytes per token, more is better"].ratio > 1.2
        assert rows[f"{how}: {tokenizer.TITLES}: tokens per word"].ratio == 1
        [changed] = [row for name, row in rows.items() if name.startswith(how) and "cut" in name]
        assert changed.ours == 0


def test_the_corpora_that_are_installed_are_texts_of_two_languages() -> None:
    found = tokenizer.installed()
    assert {language for texts in found.values() for _, language in texts} == {"en", "zh"}
    assert len(found[tokenizer.TITLES]) > 40_000
    assert all(text.strip() for texts in found.values() for text, _ in texts)
