"""Base models read from their folders, by transformers. No code of a model's own is ever run."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from fedward_shared.base_models import WEIGHTS, digest
from fedward_shared.errors import ModelError

ATTENTION = (
    ("query", "key"),  # BERT, Longformer
    ("q_proj", "k_proj"),  # Llama, Mistral, Mixtral
    ("q_b_proj", "kv_b_proj"),  # DeepSeek-V3, from the compressed queries and keys
    ("q_proj", "kv_b_proj"),
    ("Wqkv",),  # ModernBERT
    ("q", "k"),  # T5
)
"""Names of the projections to queries and keys, by family."""

# A bar for each of a study's models would tear the live view apart.
logging.disable_progress_bar()


def depth(folder: Path) -> int:
    """How many layers the model in `folder` has. Raises ModelError."""
    digest(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return int(config.num_hidden_layers)
    except Exception as error:  # what a damaged file raises there has no common class
        raise ModelError(f"{folder}/config.json: num_hidden_layers: {error}") from error


def attention(folder: Path) -> tuple[str, ...]:
    """What the model in `folder` calls the projections to queries and keys: one name where they are one.

    The names of its tensors say it. Raises ModelError for a family that none is known of.
    """
    digest(folder)
    found = {
        part for file in folder.glob(WEIGHTS) for name in _names(file) for part in name.split(".")
    }
    for names in ATTENTION:
        if found.issuperset(names):
            return names
    raise ModelError(
        f"{folder}: none of its modules is one of {', '.join('+'.join(names) for names in ATTENTION)}; "
        "name adapter.target_modules yourself"
    )


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as tensors:
            return list(tensors.keys())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from error


def load_encoder(folder: Path) -> PreTrainedModel:
    """The bare transformer of `folder`, in fp32 and evaluation mode."""
    return _copy(_load(AutoModel, folder, digest(folder)))


def load_causal_lm(folder: Path) -> PreTrainedModel:
    """The causal language model of `folder`, in fp32 and evaluation mode."""
    return _copy(_load(AutoModelForCausalLM, folder, digest(folder)))


def _copy(model: PreTrainedModel) -> PreTrainedModel:
    """Layers of its own around the same frozen weights, which nobody changes where they lie."""
    return copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of `folder`, the same object for whoever asks."""
    return _load_tokenizer(folder, digest(folder))


@lru_cache(maxsize=2)
def _load_tokenizer(folder: Path, _digest: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # what a damaged file raises there has no common class
        raise ModelError(f"{folder}: the tokenizer cannot be loaded: {error}") from error


@lru_cache(maxsize=2)
def _load(kind: Any, folder: Path, _digest: str) -> PreTrainedModel:
    """Read once by a process; whoever asks gets a copy. Its digest refused a model with code."""
    try:
        model = kind.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype="float32",
        )
    except Exception as error:  # what a damaged file raises there has no common class
        raise ModelError(f"{folder}: the model cannot be loaded: {error}") from error
    return model.eval().requires_grad_(False)
