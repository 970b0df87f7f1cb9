"""What is trained here is what studies can adapt."""

from pathlib import Path

import pytest
from server.pretraining.small import SPECIALS, VOCABULARY, small

from fedward_server.pretraining.architectures import build
from fedward_server.pretraining.families import FamilyName
from fedward_shared import base_models, pretrained
from fedward_shared.errors import ModelError

MODULES: dict[FamilyName, tuple[str, ...]] = {
    "bert": ("query", "key"),
    "modernbert": ("Wqkv",),
    "longformer": ("query", "key"),
    "llama": ("q_proj", "k_proj"),
    "mistral": ("q_proj", "k_proj"),
    "mixtral": ("q_proj", "k_proj"),
    "deepseek": ("q_b_proj", "kv_b_proj"),
    "t5": ("q", "k"),
}


@pytest.mark.parametrize("family", MODULES)
def test_a_study_finds_where_its_adapters_go(family: FamilyName, tmp_path: Path) -> None:
    build(small(family), VOCABULARY, SPECIALS, seed=1).save_pretrained(tmp_path)
    assert base_models.digest(tmp_path).startswith("sha256:")
    assert pretrained.attention(tmp_path) == MODULES[family]
    if family != "t5":  # studies have no task for what answers with a text of its own
        modules = {
            name.rpartition(".")[2] for name, _ in pretrained.load_encoder(tmp_path).named_modules()
        }
        assert modules.issuperset(MODULES[family])


def test_a_model_of_an_unknown_family_is_said_to_be_one(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text("{}")
    save_file({"mixer.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"name adapter\.target_modules yourself"):
        pretrained.attention(tmp_path)
