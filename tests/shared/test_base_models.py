"""A base model is the bytes its digest names; what is damaged or brings code is refused, and named."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fedward_shared import base_models, pretrained
from fedward_shared.errors import ModelError


@pytest.fixture
def folder(tiny_bert_folder: Path, tmp_path: Path) -> Path:
    """A model of this test's own."""
    return Path(shutil.copytree(tiny_bert_folder, tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_copy_has_the_same_digest(folder: Path, tiny_bert_folder: Path) -> None:
    assert base_models.digest(folder) == base_models.digest(tiny_bert_folder)
    base_models.check(folder, base_models.digest(tiny_bert_folder))


def test_any_changed_byte_gives_another_digest(folder: Path) -> None:
    digests = {base_models.digest(folder)}
    for name in ("model.safetensors", "tokenizer.json"):
        data = bytearray((folder / name).read_bytes())
        data[-2] ^= 1
        (folder / name).write_bytes(data)
        digests.add(base_models.digest(folder))
    for name in ("config.json", "tokenizer_config.json"):
        edit(folder / name, remark="")
        digests.add(base_models.digest(folder))
    assert len(digests) == 5


@pytest.mark.parametrize(
    "name",
    [
        "added_tokens.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors.index.json",
        "more.safetensors",
        "special_tokens_map.json",
        "tokenizer.model",
        "vocab.json",
        "vocab.txt",
    ],
)
def test_an_added_file_that_changes_the_model_gives_another_digest(folder: Path, name: str) -> None:
    before = base_models.digest(folder)
    (folder / name).write_text("{}")
    assert base_models.digest(folder) != before


def test_a_renamed_or_missing_file_gives_another_digest(folder: Path) -> None:
    digests = {base_models.digest(folder)}
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    digests.add(base_models.digest(folder))
    (folder / "tokenizer_config.json").unlink()
    digests.add(base_models.digest(folder))
    assert len(digests) == 3


def test_which_shard_a_tensor_is_read_from_is_in_the_digest(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "a.safetensors", {"format": "pt"})
    save_file({n: t + 1 for n, t in weights.items()}, folder / "b.safetensors", {"format": "pt"})
    seen = {}
    for shard in ("a", "b"):
        index = {"metadata": {}, "weight_map": dict.fromkeys(weights, f"{shard}.safetensors")}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        model = pretrained.load_encoder(folder)
        seen[base_models.digest(folder)] = float(model.embeddings.word_embeddings.weight.sum())
    assert len(seen) == 2
    assert len(set(seen.values())) == 2


def test_notes_beside_the_model_do_not_matter(folder: Path) -> None:
    before = base_models.digest(folder)
    (folder / "README.md").write_text("a model")
    assert base_models.digest(folder) == before


def test_another_model_than_the_one_named_is_refused(folder: Path) -> None:
    found, expected = base_models.digest(folder), "sha256:" + "0" * 64
    with pytest.raises(ModelError, match=f"{folder}: .* is {found}, expected {expected}"):
        base_models.check(folder, expected)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_models_own_code_is_never_run(folder: Path, name: str) -> None:
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Own: pass\n")
    kinds = {"AutoModel": "own.Own", "AutoConfig": "own.Own", "AutoTokenizer": ["own.Own", None]}
    edit(folder / name, auto_map=kinds, model_type="own")
    with pytest.raises(ModelError, match=f"{name}: auto_map"):
        base_models.digest(folder)
    for load in (pretrained.load_encoder, pretrained.load_causal_lm):
        with pytest.raises(ModelError, match=f"{name}: auto_map"):
            load(folder)
    with contextlib.suppress(ModelError):
        pretrained.load_tokenizer(folder)
    assert not (folder / "ran").exists()


def test_a_model_that_is_only_a_pickle_is_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    for use in (base_models.digest, pretrained.load_encoder, pretrained.load_causal_lm):
        with pytest.raises(ModelError, match=f"{folder}: no .safetensors file"):
            use(folder)


@pytest.mark.parametrize("keep", [0, 7, 100, 2000, -1])
def test_weights_that_are_cut_off_are_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=f"{folder}: the model cannot be loaded"):
        pretrained.load_encoder(folder)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"model_type": "nothing"}', '{"model_type": "bert"}', "\ud800"]
)
def test_a_wrong_configuration_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError, match=str(folder)):
        pretrained.load_encoder(folder)


def test_a_configuration_of_wrong_types_is_refused(folder: Path) -> None:
    edit(folder / "config.json", hidden_size="wide")
    with pytest.raises(ModelError, match="cannot be loaded"):
        pretrained.load_encoder(folder)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"model": {}}', "[]"])
def test_a_wrong_tokenizer_is_refused(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=f"{folder}: the tokenizer cannot be loaded"):
        pretrained.load_tokenizer(folder)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: no such file"):
        base_models.digest(tmp_path)
    with pytest.raises(ModelError, match=str(tmp_path)):
        pretrained.load_encoder(tmp_path)
    with pytest.raises(ModelError, match=str(tmp_path)):
        pretrained.load_tokenizer(tmp_path)


def test_a_loaded_model_is_frozen_in_full_precision_and_not_in_training(folder: Path) -> None:
    model = pretrained.load_encoder(folder)
    assert not model.training
    assert {str(p.dtype) for p in model.parameters()} == {"torch.float32"}
    assert not any(p.requires_grad for p in model.parameters())


def test_a_model_is_found_among_folders_by_its_digest(folder: Path, tiny_bert_folder: Path) -> None:
    edit(folder / "config.json", remark="")
    folders = (tiny_bert_folder, folder)
    for one in folders:
        assert base_models.find(folders, base_models.digest(one)) == one
    with pytest.raises(ModelError, match="no base model with the digest") as caught:
        base_models.find(folders[:1], base_models.digest(folder))
    assert base_models.digest(tiny_bert_folder) in str(caught.value)
