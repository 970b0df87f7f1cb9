"""A training that goes on from a model that is there, with its tokenizer or an extension of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fedward_server.pretraining import tokenizers
from fedward_server.pretraining.embeddings import resize_embeddings
from fedward_shared import base_models
from fedward_shared.errors import ModelError


def load(model: Any, folder: Path, tokenizer: Any, multiple: int) -> None:
    """Gives `model`, built for the vocabulary in `folder`, the weights there; then `tokenizer`'s rows.

    Raises ModelError for a model of another family or of other sizes, and names what differs.
    """
    base_models.digest(folder)
    own, taken = model.state_dict(), set()
    with torch.no_grad():
        for name, tensor in _tensors(folder):
            if name not in own:
                raise ModelError(f"{folder}: {name}: [model] makes no such tensor: another family")
            if own[name].shape != tensor.shape:
                raise ModelError(
                    f"{folder}: {name}: {tuple(tensor.shape)}, and [model] makes "
                    f"{tuple(own[name].shape)}: give the sizes of that model"
                )
            own[name].copy_(tensor)
            taken.add(own[name].data_ptr())
    missing = [name for name, tensor in own.items() if tensor.data_ptr() not in taken]
    if missing:
        raise ModelError(f"{folder}: {missing[0]} is not there: another family, or fewer layers")
    resize_embeddings(model, tokenizers.load(folder), tokenizer, multiple)


def vocabulary(folder: Path) -> int:
    """Rows of the embeddings of the model in `folder`. Raises ModelError."""
    from transformers import AutoConfig

    base_models.digest(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return int(config.vocab_size)
    except Exception as error:  # what a damaged file raises there has no common class
        raise ModelError(f"{folder}/config.json: vocab_size: {error}") from error


def _tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for file in sorted(folder.glob(base_models.WEIGHTS)):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (it is no dict)
                    yield name, tensors.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file}: cannot be read: {error}") from error
