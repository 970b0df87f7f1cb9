"""The released adapter loads in plain peft and says what the study's model says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import adapter_terms, texts
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from fedward_server.observer import Observer
from fedward_shared import canonical, release
from fedward_shared.names import METHODS
from fedward_shared.tasks.classification import TextClassifier
from fedward_simulations.consortium import Consortium, Recipe, World


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"head-only"}))
def test_plain_peft_gives_the_same_logits(
    method: str, world: World, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = replace(recipe, adapter=adapter_terms(method))
    consortium = Consortium(world, Observer())
    outcome = consortium.run("study", recipe, 8.0)
    model = consortium.model(outcome)
    assert isinstance(model, TextClassifier)
    folder = tmp_path / "adapter"
    release.write(model, outcome.study.charter, outcome.epsilon, folder)

    columns = texts(6, 900)
    examples = model.prepare(columns)
    with torch.no_grad():
        ours = model.logits(examples.batch(np.arange(6)))
        plain = PeftModel.from_pretrained(
            AutoModel.from_pretrained(world.base_model), folder
        ).eval()
        tokenizer = AutoTokenizer.from_pretrained(world.base_model)
        encoded = tokenizer(
            columns["text"], padding=True, truncation=True, max_length=16, return_tensors="pt"
        )
        hidden_BTD = plain(**encoded).last_hidden_state
        weights_BT1 = encoded["attention_mask"][:, :, None].float()
        pooled_BD = (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1)
        head = load_file(folder / "head.safetensors")
        features_BD = (pooled_BD - head["head.mean"]) / head["head.scale"]
        theirs = features_BD @ head["head.weight"].T + head["head.bias"]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert float(head["head.weight"].abs().max()) > 0
    moved = load_file(folder / "adapter_model.safetensors")
    assert all(bool(tensor.any()) for tensor in moved.values())

    manifest = json.loads((folder / "manifest.json").read_text())
    for name, digest in manifest["files"].items():
        assert canonical.digest((folder / name).read_bytes()) == digest
    assert str(tmp_path) not in (folder / "adapter_config.json").read_text()
