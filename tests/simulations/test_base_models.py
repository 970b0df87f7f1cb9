"""The base models: they load offline, speak, and come out byte for byte the same."""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from fedward_shared.errors import MissingExtra, ModelError
from fedward_simulations.data import base_models

TEXTS = [f"BP {pressure}/80 mmHg, target < 140/90 mmHg" for pressure in range(100, 200)]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("make", [base_models.tiny_llama, base_models.tiny_bert])
def test_a_toy_is_small_and_the_seed_decides(make: Callable[..., Path], tmp_path: Path) -> None:
    first, again, other = (
        make(tmp_path / name, seed, TEXTS) for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    )
    assert digests(first) == digests(again)
    assert digests(first)["tokenizer.json"] == digests(other)["tokenizer.json"]
    assert digests(first)["model.safetensors"] != digests(other)["model.safetensors"]
    assert {path.suffix for path in first.iterdir()} <= {".json", ".safetensors"}
    model = AutoModel.from_pretrained(first)
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000


def test_a_toy_leaves_the_random_state_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    base_models.tiny_llama(tmp_path / "llama", 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("texts", [(), TEXTS])
def test_tiny_llama_reads_back_what_it_is_given(tmp_path: Path, texts: list[str]) -> None:
    folder = base_models.tiny_llama(tmp_path / "llama", 0, texts)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "BP 167/95 mmHg — naïve 漢字"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    model = AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    assert model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[0] == 1


def test_tiny_bert_knows_diagnoses(tmp_path: Path) -> None:
    folder = base_models.tiny_bert(tmp_path / "bert", 0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(["Fracture of left femur", "Cholera"], padding=True, return_tensors="pt")
    assert tokenizer.convert_ids_to_tokens(tokens.input_ids[0])[:3] == ["[CLS]", "fracture", "of"]
    assert tokenizer.unk_token_id not in tokens.input_ids
    assert AutoModel.from_pretrained(folder)(**tokens).last_hidden_state.shape[-1] == 32


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    folder = base_models.tiny_llama(tmp_path / "llama", 0)
    before = digests(folder)
    with pytest.raises(OSError):
        base_models.tiny_llama(folder, 1)
    assert digests(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def test_minilm_lies_in_its_package() -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_models.minilm())
    assert len(tokenizer) == 30_522
    assert (base_models.minilm() / "model.safetensors").is_file()


def test_smollm2_is_made_once(tmp_path: Path) -> None:
    (tmp_path / base_models.SMOLLM2).mkdir()
    assert base_models.smollm2(tmp_path) == tmp_path / base_models.SMOLLM2


def test_a_failed_conversion_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(source: Path, file: str, folder: Path) -> None:
        (folder / "config.json").touch()
        raise ModelError("babbles")

    monkeypatch.setattr(base_models, "_convert", convert)
    with pytest.raises(ModelError):
        base_models.smollm2(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(MissingExtra, match=r"MiniLM.*fedward-simulations\[data\]"):
        base_models.minilm()
    with pytest.raises(MissingExtra, match=r"SmolLM2.*fedward-simulations\[data\]"):
        base_models.smollm2(tmp_path)
    with pytest.raises(MissingExtra, match=r"ICD-10-CM.*fedward-simulations\[data\]"):
        base_models.tiny_bert(tmp_path / "bert", 0)


@pytest.mark.slow
def test_smollm2_converts_and_speaks(tmp_path: Path) -> None:
    folder = base_models.smollm2(tmp_path)
    assert "quantization_config" not in (folder / "config.json").read_text()
    assert list(tmp_path.iterdir()) == [folder]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    inputs = tokenizer("One, two, three,", return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=1, do_sample=False)
    assert tokenizer.decode(output[0]).endswith(" four")
