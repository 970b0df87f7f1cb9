"""Base models: folders of safetensors that a charter names by digest. Nothing of them is executed.

They are read by `pretrained.py`, which loads transformers; who only names or checks one does not.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from fedward_shared import canonical
from fedward_shared.errors import ModelError

WEIGHTS = "*.safetensors"
TEXT_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
"""The files besides the weights that decide what the model computes."""


def digest(folder: Path) -> str:
    """SHA-256 over the names and SHA-256 of the weights, configuration and tokenizer in `folder`.

    Raises ModelError if the folder holds no model, or one whose configuration asks for code of its
    own (`auto_map`): such code is never run.
    """
    for name in ("config.json", "tokenizer_config.json"):
        _refuse_code(folder / name)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder}/config.json: no such file; a base model is a Hugging Face folder"
        )
    weights = sorted(folder.glob(WEIGHTS))
    if not weights:
        raise ModelError(f"{folder}: no .safetensors file; other weight formats are not read")
    files = weights + [folder / name for name in TEXT_FILES if (folder / name).is_file()]
    return canonical.digest(canonical.encode({file.name: file_digest(file) for file in files}))


def _refuse_code(file: Path) -> None:
    if not file.is_file():
        return
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{file}: not a JSON file: {error}") from error
    if not isinstance(content, dict) or "auto_map" in content:
        raise ModelError(
            f"{file}: auto_map: the model wants to run code of its own, which is never allowed; "
            "use an architecture that the installed transformers has"
        )


def file_digest(file: Path) -> str:
    """SHA-256 of a file, kept until it changes: a simulation asks hundreds of times for the same."""
    state = file.stat()
    return _digest_of_state(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest_of_state(file: Path, _size: int, _changed: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check(folder: Path, expected: str) -> None:
    """Raises ModelError unless the model in `folder` is the one with digest `expected`."""
    found = digest(folder)
    if found != expected:
        raise ModelError(f"{folder}: the base model's digest is {found}, expected {expected}")


def find(folders: Iterable[Path], expected: str) -> Path:
    """The one of `folders` whose model has the digest `expected`. Raises ModelError if none has."""
    found = {folder: digest(folder) for folder in folders}
    for folder, own in found.items():
        if own == expected:
            return folder
    listed = ", ".join(f"{folder} ({own})" for folder, own in found.items()) or "none"
    raise ModelError(f"no base model with the digest {expected} is there; those that are: {listed}")
