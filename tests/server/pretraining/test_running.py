"""A training from its file to a model that a charter can name, in one process."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from server.pretraining.trained import configuration
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from fedward_server.pretraining import configuration as configurations
from fedward_server.pretraining import running
from fedward_server.pretraining.assembling import first_model
from fedward_server.pretraining.monitoring import diary
from fedward_server.pretraining.preparing import prepare
from fedward_shared import base_models
from fedward_shared.errors import DataError, ModelError, StateError, UsageError


def ran(path: Path) -> Path:
    folder = path.with_suffix("")
    running.run(configurations.read(path), path.parent, folder, Console(quiet=True))
    return folder


def losses(folder: Path) -> dict[int, float]:
    return {report.step: report.loss for report in diary.read(folder / diary.FILE).steps}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(configuration(tmp_path_factory.mktemp("trained")))


def test_it_learns_from_both_languages_and_says_how_well(trained: Path) -> None:
    record = diary.read(trained / diary.FILE)
    assert [report.step for report in record.steps] == list(range(6))
    assert set(record.evaluations[-1].losses) == {"titles", "reviews"}
    assert record.steps[-1].loss < record.steps[0].loss
    assert "<svg" in (trained / "curves.html").read_text("utf-8")


def test_the_same_file_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    again = ran(configuration(tmp_path))
    assert losses(again) == losses(trained)
    assert running.export(again, tmp_path / "one") == running.export(trained, tmp_path / "other")


def test_what_is_handed_over_is_a_model_and_says_what_it_is(trained: Path, tmp_path: Path) -> None:
    digest = running.export(trained, tmp_path / "model")
    assert digest == base_models.digest(tmp_path / "model")
    manifest = json.loads((tmp_path / "model/manifest.json").read_text("utf-8"))
    assert manifest["digest"] == digest
    assert set(manifest["files"]) == {
        path.name for path in (tmp_path / "model").iterdir() if path.name != "manifest.json"
    }
    card = (tmp_path / "model/README.md").read_text("utf-8")
    assert digest in card
    assert "| reviews | zh | 50.0 % |" in card
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert len(tokenizer) <= model.config.vocab_size
    with pytest.raises(UsageError, match="is there already"):
        running.export(trained, tmp_path / "model")


def test_an_encoder_is_one(tmp_path: Path) -> None:
    path = configuration(tmp_path, preset="tiny-bert")
    path.write_text(path.read_text("utf-8").replace("kv_heads = 1\n", ""), "utf-8")
    trained = ran(path)
    running.export(trained, tmp_path / "model")
    model, loading = AutoModelForMaskedLM.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert model.config.model_type == "bert"


def test_another_call_does_nothing_and_another_configuration_is_refused(
    trained: Path, tmp_path: Path
) -> None:
    path = trained.with_suffix(".toml")
    before = losses(trained)
    ran(path)
    assert losses(trained) == before
    terms = configurations.read(path)
    schedule = terms.schedule.model_copy(update={"rate": 0.5, "save_every": 3})
    with pytest.raises(UsageError, match=r"begun with other schedule\.rate; go on with"):
        running.begin(terms.model_copy(update={"schedule": schedule}), path.parent, trained)
    assert running.begun(trained)[0] == terms


def test_a_run_that_never_began_has_nothing_to_go_on_with_or_to_hand_over(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training was begun there"):
        running.begun(tmp_path)
    with pytest.raises(UsageError, match="no training was begun there"):
        running.export(tmp_path, tmp_path / "model")


def test_nothing_is_handed_over_before_a_step_was_kept(trained: Path, tmp_path: Path) -> None:
    path = configuration(tmp_path)
    folder = tmp_path / "tiny"
    running.begin(configurations.read(path), tmp_path, folder)
    for name in ("tokenizer", "corpus"):
        (folder / name).symlink_to(trained / name)
    with pytest.raises(StateError, match="no step was kept there yet"):
        running.export(folder, tmp_path / "model")


BAD: list[tuple[dict[str, Any], bytes, type[Exception], str]] = [
    ({}, b"", DataError, "titles.jsonl|titles"),
    ({}, b"\xff\xfe\xfd\n" * 50, DataError, "titles"),
    ({}, b'{"words": 3}\n' * 50, DataError, "titles"),
]


@pytest.mark.parametrize(("changes", "content", "error", "said"), BAD)
def test_texts_that_cannot_be_used_are_refused_before_anything_is_trained(
    changes: dict[str, Any],
    content: bytes,
    error: type[Exception],
    said: str,
    tmp_path: Path,
) -> None:
    path = configuration(tmp_path, **changes)
    (tmp_path / "titles.jsonl").write_bytes(content)
    with pytest.raises(error, match=said):
        ran(path)
    assert not (tmp_path / "tiny/checkpoints").exists()


def test_a_corpus_of_one_document_is_refused(tmp_path: Path) -> None:
    one = {"name": "titles", "paths": ["titles.jsonl"], "format": "jsonl", "language": "en"}
    path = configuration(tmp_path, texts=1, sources=[one])
    with pytest.raises(DataError, match="document"):
        ran(path)


def test_a_model_that_does_not_fit_is_refused_with_what_would(tmp_path: Path) -> None:
    path = configuration(
        tmp_path, model={"hidden": 16_384, "heads": 128, "kv_heads": 8, "intermediate": 65_536}
    )
    with pytest.raises(ModelError, match=r"needs .* GB on a device that has .*what would fit: "):
        ran(path)


def test_a_batch_that_the_workers_cannot_share_is_refused() -> None:
    from fedward_server.pretraining.training.parallel import ParallelTerms, workers

    crew = workers(ParallelTerms(precision="fp32"), ["LlamaDecoderLayer"], 1.0)
    crew.count = 3
    said = r"schedule\.batch: 4 rows cannot be shared evenly by 3 workers; 3 can"
    with pytest.raises(UsageError, match=said):
        crew.share_of(4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_precision_that_the_machine_has_not_is_refused(tmp_path: Path) -> None:
    path = configuration(tmp_path, parallel={"precision": "fp16"})
    with pytest.raises(UsageError, match=r"parallel\.precision: fp16 needs a GPU"):
        ran(path)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    path = configuration(tmp_path, tokenizer={"folder": "none"})
    with pytest.raises(ModelError, match="no such file"):
        ran(path)


def test_it_goes_on_from_a_model_whose_tokenizer_learns_another_language(
    trained: Path, tmp_path: Path
) -> None:
    running.export(trained, tmp_path / "model")
    learns = {"folder": "model", "merges": 30, "keep": ["en"]}
    path = configuration(tmp_path, initial="model", tokenizer=learns, schedule={"steps": 2})
    extended = ran(path)
    terms, root = running.begun(extended)
    before = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    prepared = prepare(terms, root, extended, Console(quiet=True))
    first = first_model(terms, prepared)
    known = len(AutoTokenizer.from_pretrained(tmp_path / "model"))
    assert known < len(prepared.tokenizer) <= first.config.vocab_size
    old, new = dict(before.named_parameters()), dict(first.named_parameters())
    for name in old.keys() - {"model.embed_tokens.weight"}:
        assert torch.equal(new[name], old[name])
    rows = "model.embed_tokens.weight"
    assert torch.equal(new[rows][:known], old[rows][:known])
    assert losses(extended)[0] < losses(trained)[0]
    running.export(extended, tmp_path / "extended")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "extended")) == len(prepared.tokenizer)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"intermediate": 96}, r"give the sizes of that model"),
        ({"layers": 3}, r"fewer layers"),
    ],
)
def test_an_initial_model_of_other_sizes_is_refused(
    model: dict[str, int], said: str, trained: Path, tmp_path: Path
) -> None:
    running.export(trained, tmp_path / "model")
    own = {"folder": "model", "merges": 0}
    with pytest.raises(ModelError, match=said):
        ran(configuration(tmp_path, initial="model", tokenizer=own, model=model))


def test_an_initial_model_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'folder = "model"'):
        configurations.read(configuration(tmp_path, initial="model"))
