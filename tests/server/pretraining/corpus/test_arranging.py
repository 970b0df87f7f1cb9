"""Pairs and switched words as the whole corpus stage writes them, from a configuration."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from fedward_server.pretraining.configuration import Pretraining
from fedward_server.pretraining.preparing import Prepared, prepare
from fedward_server.pretraining.presets import preset
from fedward_shared.errors import DataError, StateError

PARTS = ["heart", "lung", "liver", "kidney", "skin", "eye", "ear", "bone", "nerve", "blood"]
KINDS = ["acute", "chronic", "mild", "severe", "old", "new"]
PAIRS = [(f"{kind} disease of the {part}", f"{part}的{kind}病") for part in PARTS for kind in KINDS]
LEXICON = "disease\t病\nheart\t心脏\n"
FILES = ("manifest.json", "inputs.json", "notes-00000.tokens", "pairs-00000.tokens")


def written(path: Path, records: list[dict[str, str]]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), "utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    written(folder / "pairs.jsonl", [{"en": en, "zh": zh} for en, zh in PAIRS])
    written(folder / "notes.jsonl", [{"text": f"A {en} was seen."} for en, _ in PAIRS])
    written(folder / "exam.jsonl", [{"text": "Which disease is it?", "zh": "是哪种病?"}] * 2)
    (folder / "en-zh.tsv").write_text(LEXICON, "utf-8")
    return folder


def terms(**others: Any) -> Pretraining:
    exam = {"name": "exam", "paths": ["exam.jsonl"], "format": "jsonl", "language": "en"}
    pairs = exam | {"name": "pairs", "paths": ["pairs.jsonl"], "field": "en"}
    other = {"other_field": "zh", "other_language": "zh"}
    given = {
        "seed": 1,
        "model": preset("tiny-bert").model,
        "tokenizer": {"merges": 20, "languages": ["en", "zh"]},
        "sources": [
            pairs | other,
            exam | {"name": "notes", "paths": ["notes.jsonl"]},
            exam | other | {"evaluation": True},
        ],
        "filters": {"duplicates": None, "contamination": False},
        "augmentation": [{"lexicon": "en-zh.tsv", "language": "en", "share": 0.5}],
        "schedule": {"steps": 1},
    }
    return Pretraining.model_validate(given | others)


def prepared(terms: Pretraining, root: Path, folder: Path) -> Prepared:
    return prepare(terms, root, folder, Console(quiet=True))


def documents(found: Prepared, name: str) -> list[str]:
    source, at, texts = found.store.sources[name], 0, []
    for size in found.store.sources[name].sizes().tolist():
        texts.append(found.tokenizer.decode(source.read(at, at + size).tokens_N.tolist()))
        at += size
    return texts


def contents(folder: Path) -> list[bytes]:
    return [(folder / "corpus" / name).read_bytes() for name in FILES]


def test_pairs_are_one_document_in_either_order_and_words_of_a_lexicon_are_switched(
    root: Path, tmp_path: Path
) -> None:
    found = prepared(terms(), root, tmp_path)
    straight = [f"[CLS][EN]{en}[ZH]{zh}[SEP]" for en, zh in PAIRS]
    swapped = [f"[CLS][ZH]{zh}[EN]{en}[SEP]" for en, zh in PAIRS]
    pairs = documents(found, "pairs")
    for document, either in zip(pairs, zip(straight, swapped, strict=True), strict=True):
        assert document in either
    assert 15 < sum(map(str.startswith, pairs, ["[CLS][EN]"] * 60)) < 45
    notes = documents(found, "notes")
    assert 15 < sum("病" in note for note in notes) < 45
    assert 0 < sum("心脏" in note for note in notes) < 6
    plain = [note.replace("病", "disease").replace("心脏", "heart") for note in notes]
    assert plain == [f"[CLS][EN]A {en} was seen.[SEP]" for en, _ in PAIRS]
    assert documents(found, "exam") == ["[CLS][EN]Which disease is it?[ZH]是哪种病?[SEP]"] * 2


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    root: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepared(terms(seed=seed), root, tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")[2:] != contents(tmp_path / "c")[2:]


def test_another_lexicon_is_another_corpus(root: Path, tmp_path: Path) -> None:
    prepared(terms(), root, tmp_path)
    before = contents(tmp_path)
    (root / "other.tsv").write_text(LEXICON + "lung\t肺\n", "utf-8")
    (root / "same.tsv").write_text(LEXICON, "utf-8")
    for name, share in (("other.tsv", 0.5), ("same.tsv", 0.4)):
        switching = [{"lexicon": name, "language": "en", "share": share}]
        with pytest.raises(StateError, match=r"begun with other arranged\.switching\.en\."):
            prepared(terms(augmentation=switching), root, tmp_path)
    with pytest.raises(StateError, match=r"begun with other arranged\."):
        prepared(terms(augmentation=[]), root, tmp_path)
    moved = [{"lexicon": "same.tsv", "language": "en", "share": 0.5}]
    prepared(terms(augmentation=moved), root, tmp_path)
    assert contents(tmp_path) == before


def test_a_corpus_in_which_nothing_is_drawn_is_the_same_for_each_seed(
    root: Path, tmp_path: Path
) -> None:
    sources = [terms().sources[1].model_dump()]
    for seed in (1, 2):
        plain = terms(sources=sources, augmentation=[], seed=seed)
        prepared(plain, root, tmp_path)


def test_a_lexicon_that_is_not_there_is_said_and_two_for_a_language_are_refused(
    root: Path, tmp_path: Path
) -> None:
    none = {"lexicon": "none.tsv", "language": "en"}
    with pytest.raises(DataError, match=r"none\.tsv: the lexicon cannot be read"):
        prepared(terms(augmentation=[none]), root, tmp_path)
    with pytest.raises(ValidationError, match="augmentation: two are for one language"):
        terms(augmentation=[none, none])
